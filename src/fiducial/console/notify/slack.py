"""Slack, and what understands the JSON of its incoming webhooks: a text and blocks.

Only the link is markup. Everything else in the text is sentences of ours and names of the charter, reduced to letters,
digits and a few signs; in the blocks it is `plain_text`, which is not parsed. The characters that Slack acts on are
escaped there as well (https://docs.slack.dev/messaging/formatting-message-text).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from fiducial.console.notify.channels import Outcome
from fiducial.console.notify.message import Message
from fiducial.console.notify.webhook import client, post

_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class Slack:
    """One incoming webhook."""

    kind = "slack"
    people = False

    def __init__(self, name: str, url: str) -> None:
        """`url`: whoever has it can write to the channel."""
        self.name = name
        self._url = url
        self._client = client()

    def send(self, message: Message, to: Sequence[str] = ()) -> Outcome:
        """See `Channel.send`."""
        return post(self._client, self._url, msgspec.json.encode(_payload(message)), {})

    def close(self) -> None:
        """See `Channel.close`."""
        self._client.close()


def _payload(message: Message) -> dict[str, Any]:
    link = f"<{message.link}|{_escaped(message.link_words)}>"
    sentences = "\n".join(map(_escaped, message.lines))
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(message.title[:150])},
        {"type": "section", "text": _plain("\n".join(message.lines))},
    ]
    if message.details:
        shown = "\n".join(f"{name}: {value}" for name, value in message.details)
        blocks.append({"type": "section", "text": _plain(shown[:2900])})
    blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": link, "verbatim": True}})
    return {
        "text": f"{_escaped(message.title)}\n{sentences}\n{link}",
        "blocks": blocks,
        "parse": "none", "link_names": False, "unfurl_links": False, "unfurl_media": False,
    }  # fmt: skip


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": _escaped(text), "emoji": False}


def _escaped(text: str) -> str:
    return text.translate(_ESCAPED)


__all__ = ["Slack"]
