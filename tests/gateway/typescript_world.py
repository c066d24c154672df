"""The vendors' SDKs in TypeScript, pointed at the gateway; what they answer is read as in Python."""

from __future__ import annotations

import shutil
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from anthropic.types import Message
from gateway_world import Lines, Program
from model_world import ChatTalk, MessagesTalk, OverModel, ResponsesTalk, SdkError, Talk
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

FOLDER = Path(sys.prefix) / "typescript"
"""Where `make test` puts the SDKs."""
_SCRIPT = Path(__file__).with_name("models.mts")


class Node(Program):
    """A process of Node.js that asks models."""

    def __init__(self) -> None:
        # Modules are looked for beside the script.
        super().__init__([str(Path(sys.executable).with_name("node")), shutil.copy(_SCRIPT, FOLDER)])

    def ask(self, lines: Lines | None = None, **asked: Any) -> Any:
        """The SDK's answer, over `lines` if there are any. Raises `SdkError`."""
        number, answer = self.begin(**asked)
        if lines is not None:
            lines.ends.append(lambda: self.say({"number": number, "leave": True}))
        said = answer.result(60)
        if "error" in said:
            raise SdkError(said["error"])
        return said["answer"]


@cache
def node() -> Node:
    """One for all tests; it ends with its standard input."""
    if not FOLDER.exists():
        pytest.skip("the SDKs in TypeScript are not installed: `make test`")
    return Node()


def _asking(talk: Talk, api: str, asked: dict[str, Any]) -> Any:
    model = "claude" if api == "messages" else "gpt"
    headers = asked.pop("extra_headers")
    url = f"{talk.gate.site.url}/models/{model}"
    return node().ask(talk.lines, api=api, stream=talk.stream, url=url, headers=headers, body=asked)


class TsChatTalk(ChatTalk):
    def answer(self, asked: dict[str, Any]) -> ChatCompletion:
        return ChatCompletion.model_validate(_asking(self, "chat", asked))


class TsResponsesTalk(ResponsesTalk):
    def answer(self, asked: dict[str, Any]) -> Response:
        return Response.model_validate(_asking(self, "responses", asked))


class TsMessagesTalk(MessagesTalk):
    def answer(self, asked: dict[str, Any]) -> Message:
        return Message.model_validate(_asking(self, "messages", asked))


def _door(made: type[Talk], *, streamed: bool) -> type[OverModel]:
    return type(f"Over{made.__name__}{'Stream' * streamed}", (OverModel,), {"talk": made, "stream": streamed})


OVER_TYPESCRIPT = _door(TsChatTalk, streamed=False), _door(TsMessagesTalk, streamed=True)
"""Each vendor's SDK."""
OVER_TYPESCRIPT_TOO = [
    *(_door(TsResponsesTalk, streamed=streamed) for streamed in (False, True)),
    _door(TsChatTalk, streamed=True),
    _door(TsMessagesTalk, streamed=False),
]
"""The rest of what they speak."""

__all__ = ["OVER_TYPESCRIPT"]
