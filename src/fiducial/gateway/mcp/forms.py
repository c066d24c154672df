"""Questions to the user, put before them as a form of their client's.

A client that can be asked (MCP elicitation, form mode) shows the form and sends back what was filled in: by a request
of the server's in versions up to 2025-11-25, with the same call once more in that of 2026-07-28. Who filled it in, the
protocol does not say: it may be the agent. So a form is put only where whoever set the gateway up says that the client
is *attended*, which is that its user answers forms themselves. Of every other client the user's questions wait at the
desk alone.

| the client sends back | then |
|---|---|
| `accept`, with `go_on` ticked | the user confirms the call as it is shown |
| `accept`, with words | they are the user's answer |
| `decline` | the user refuses the call |
| `cancel`, nothing in time, or what is no answer | nothing is answered, and the call is not made |

What is answered goes to the desk as the user's, for the request that waits there about exactly this call, and the call
is decided afresh. What is not answered can still be answered at the desk.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Literal, TypeAlias

import mcp_types as types
import msgspec
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from fiducial.core.ids import HoldId, PersonId
from fiducial.core.plain import plain
from fiducial.core.verdict import Unclear, Verdict
from fiducial.errors import AlreadySettled, OversightError, StoreError
from fiducial.gateway.requests import Requests
from fiducial.guard.session import Session
from fiducial.oversight.cells import MAX_NOTE
from fiducial.oversight.desk import Desk
from fiducial.oversight.hold import Approver

log = logging.getLogger("fiducial.gateway")
FILLING: Final = 50.0
"""Seconds for which a form waits for the user; clients give up their call after 60 by themselves."""
MOST_FORMS: Final = 3
"""Times that one question is put, when the form comes back late or not at all. One that was dismissed is put once."""
_LONGEST: Final = 400
"""Characters of a value that a form shows."""
GO_ON: Final = "go_on"
ANSWER: Final = "answer"
FORM: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        ANSWER: {
            "type": "string",
            "title": "Your answer",
            "description": "What you want instead, or what is meant. The assistant is told.",
            "maxLength": MAX_NOTE,
        },
        GO_ON: {
            "type": "boolean",
            "title": "The call is right as it is shown; make it",
            "default": False,
        },
    },
}
"""What is asked for, in the subset of JSON Schema that MCP 2025-06-18 and later have for forms."""


class Unanswered(msgspec.Struct, frozen=True):
    """There is no answer, and the call is not made."""

    why: str
    """Told to the agent: a sentence."""


Answered: TypeAlias = Literal["answered"]
"""The request is settled, here or at the desk: the call is to be decided afresh."""


class Forms:
    """Puts the questions of one session before its user, on one event loop. For attended clients alone."""

    def __init__(self, session: Session, requests: Requests, desk: Desk) -> None:
        """`desk` is the one that the session's guard asks, and `requests` waits for it."""
        self._session, self._requests, self._desk = session, requests, desk
        self._put: Counter[HoldId] = Counter()
        """Times that a question was put; `MOST_FORMS` for one that is not put again."""
        self._open: set[HoldId] = set()
        """Those whose form the user has before them."""

    async def put(
        self,
        context: ServerRequestContext[Any],
        params: types.CallToolRequestParams,
        verdict: Verdict,
    ) -> types.InputRequiredResult | Unanswered | Answered | None:
        """Have the user answer what `verdict` asks about the call in `params`.

        A result that asks for input is for the client, which makes the call again with what was filled in. `None`: the
        user is not asked this way, because there is no question, its form came back too often without an answer, or
        the client has no forms. Raises `StoreError` when the desk cannot be read.
        """
        if not isinstance(verdict, Unclear) or not verdict.enforced or verdict.hold is None:
            return None
        hold, form = verdict.hold, _request(verdict, params.name, params.arguments or {})
        if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            came = (params.input_responses or {}).get(hold)
            if came is None or hold not in self._open:  # or it is an answer to what nobody asked
                return await self._required(context, hold, form)
            self._open.discard(hold)
            return await self._taken(hold, came)
        if hold in self._open or not await self._begin(context, hold):
            return None
        try:
            return await self._asked(context, hold, form)
        finally:
            self._open.discard(hold)

    async def _begin(self, context: ServerRequestContext[Any], hold: HoldId) -> bool:
        """The form is going to be shown, which is on record; false when it is not to be."""
        if self._put[hold] >= MOST_FORMS or not _has_forms(context):
            return False
        self._put[hold] += 1
        self._open.add(hold)
        try:
            await run_in_threadpool(self._desk.seen, hold, self._user.id, "opened")
        except BaseException:
            self._open.discard(hold)
            raise
        return True

    @property
    def _user(self) -> Approver:
        return Approver(id=PersonId(self._session.user), roles=frozenset())

    # --- by a result that asks for input: 2026-07-28

    async def _required(
        self, context: ServerRequestContext[Any], hold: HoldId, form: types.ElicitRequest
    ) -> types.InputRequiredResult | None:
        if not await self._begin(context, hold):
            self._open.discard(hold)
            return None
        return types.InputRequiredResult(input_requests={hold: form})

    # --- by a request of the server's: up to 2025-11-25

    async def _asked(
        self, context: ServerRequestContext[Any], hold: HoldId, form: types.ElicitRequest
    ) -> Unanswered | Answered:
        """What the user fills in, unless the request is settled at the desk meanwhile."""
        asking = asyncio.create_task(self._filled_in(context, form))
        elsewhere = asyncio.create_task(self._requests.state(self._session.id, hold, FILLING))
        try:
            await asyncio.wait({asking, elsewhere}, return_when=asyncio.FIRST_COMPLETED)
            if elsewhere.done() and not elsewhere.result().open:
                return "answered"
            came = await asking
        finally:
            for task in (asking, elsewhere):
                task.cancel()
            await asyncio.gather(asking, elsewhere, return_exceptions=True)
        return came if isinstance(came, Unanswered) else await self._taken(hold, came)

    async def _filled_in(
        self, context: ServerRequestContext[Any], form: types.ElicitRequest
    ) -> types.ElicitResult | Unanswered:
        # Beside the call: whoever comes over HTTP may listen there alone.
        related = ServerMessageMetadata(related_request_id=context.request_id)
        try:
            return await context.session.send_request(
                form, types.ElicitResult, request_read_timeout_seconds=FILLING, metadata=related
            )
        except MCPError as error:
            if error.code == types.REQUEST_TIMEOUT:
                return Unanswered("The user was asked, and did not answer in time.")
            return Unanswered("The user could not be asked: their client did not take the question.")
        except OSError:
            return Unanswered("The user could not be asked: their client is gone.")
        except (ValidationError, ValueError):
            return Unanswered("The user was asked, and what their client sent back is no answer.")

    # --- what was filled in

    async def _taken(self, hold: HoldId, came: Any) -> Unanswered | Answered:
        """Keep it as the user's answer."""
        act = self._act(hold, came)
        if isinstance(act, Unanswered):
            self._put[hold] = MOST_FORMS
            return act
        try:
            await run_in_threadpool(act)
        except AlreadySettled:
            return "answered"  # by somebody else meanwhile, and that counts
        except (OversightError, StoreError) as error:
            log.error("an answer to `%s` could not be kept: %s", hold, error)
            return Unanswered("The user has answered, and their answer could not be kept.")
        return "answered"

    def _act(self, hold: HoldId, came: Any) -> Callable[[], Any] | Unanswered:
        """What keeps it."""
        no_answer = Unanswered("The user was asked, and what their client sent back is no answer.")
        if not isinstance(came, types.ElicitResult):
            return no_answer
        if came.action == "cancel":
            return Unanswered("The user has dismissed the question without answering it.")
        if came.action == "decline":
            return partial(self._desk.vote, hold, self._user, "reject", through="form")
        content = came.content or {}
        words, go_on = content.get(ANSWER) or "", content.get(GO_ON)
        if not isinstance(words, str) or not (go_on is None or isinstance(go_on, bool)):
            return no_answer
        if content.keys() - {ANSWER, GO_ON} or len(words) > MAX_NOTE:
            return no_answer
        if not words.strip() and not go_on:
            return Unanswered("The user has sent the form back empty.")
        return partial(self._desk.answer, hold, self._user, words.strip(), confirms=go_on is True, through="form")


def _has_forms(context: ServerRequestContext[Any]) -> bool:
    """The client says that it can be asked by a form, and can be asked now."""
    can = context.session.client_capabilities
    if can is None or can.elicitation is None:
        return False
    if can.elicitation.form is None and can.elicitation.url is not None:
        return False  # without either it has forms: MCP 2025-11-25, client/elicitation
    return context.protocol_version in MODERN_PROTOCOL_VERSIONS or context.session.can_send_request


def _request(verdict: Unclear, tool: str, arguments: Mapping[str, Any]) -> types.ElicitRequest:
    return types.ElicitRequest(
        params=types.ElicitRequestFormParams(message=message(verdict, tool, arguments), requested_schema=FORM)
    )


def message(verdict: Unclear, tool: str, arguments: Mapping[str, Any]) -> str:
    """The question, and the call that it is about. Values are as JSON in one line each, so that none passes for the
    words around it; what is cut off is said."""
    what = f"The assistant wants to use {plain(tool)[:80]}{':' if arguments else '.'}"
    lines = [verdict.question or "Please confirm what you want.", "", what]
    for name, value in arguments.items():
        where = verdict.evidence.get(name)
        lines.append(f"  {plain(name)[:80]}: {_shown(value)}" + (f" ({plain(where)})" if where else ""))
    return "\n".join(lines)


def _shown(value: Any) -> str:
    text = plain(json.dumps(value, ensure_ascii=False))
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]} … and {len(text) - _LONGEST:,} characters more, which only the console shows"


__all__ = ["ANSWER", "FILLING", "FORM", "GO_ON", "MOST_FORMS", "Answered", "Forms", "Unanswered", "message"]
