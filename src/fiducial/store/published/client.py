"""Asking a witness for its cosignature over HTTP.

The log does not have to remember what a witness has seen: the answer 409 says so, and the request is made again from
there. A witness that has seen more than the log has, or a tree that the log does not extend, is not a fault of the
network: the log was put back or rewritten, and that is raised as `RolledBack`.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import IO, NamedTuple
from urllib.parse import urlsplit

from fiducial.errors import Corrupt, RolledBack, StoreError
from fiducial.store.checkpoint import peek
from fiducial.store.published.cosign import Cosignature, WitnessKey, cosignatures
from fiducial.store.published.submission import MAX_BYTES, PATH, SIZE_TYPE, Submission, parse_size

TIMEOUT = 10.0
"""Seconds for each request. A witness only compares and signs."""
_TRIES = 4
"""A witness answers 409 once, unless somebody else submits larger checkpoints of the log at the same time."""


class _Reply(NamedTuple):
    status: int
    content_type: str
    body: str


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET; a witness does not move by itself."""

    def redirect_request(self, *_: object) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)


def ask(
    url: str, note: str, proof: Callable[[int], Sequence[bytes]], witnesses: Sequence[WitnessKey], *, seen: int = 0
) -> list[Cosignature]:
    """Cosignatures on the checkpoint `note` by any of `witnesses`, from the witness at `url` (its submission prefix).

    `proof` gives the consistency proof from a smaller size, at least 1, to the checkpoint's. `seen` is a guess of the
    size that the witness has seen.

    Raises `RolledBack` when the witness has seen a tree that this one does not extend, `StoreError` when it does not
    answer, does not know the log or signs with none of these keys, `Corrupt` when its signature is false.
    """
    size = peek(note).size
    old = min(seen, size)
    for _ in range(_TRIES):
        reply = _post(url, Submission(old, tuple(proof(old)) if 0 < old < size else (), note).encode())
        if reply.status == 409 and reply.content_type == SIZE_TYPE:
            old = _size(url, reply.body)
            if old > size:
                raise RolledBack(
                    f"the witness at `{url}` has seen {old} entries of this log, which has {size}: an older copy was "
                    "put in its place; bring back the newer one"
                )
            continue
        if reply.status in (409, 422):
            raise RolledBack(
                f"the witness at `{url}` has seen a tree of {old} entries that this log does not extend: the log was "
                "rewritten, or went on from an older copy"
            )
        if reply.status != 200:
            said = "".join(each if each.isprintable() else " " for each in reply.body[:200]).strip()
            raise StoreError(f"the witness at `{url}` answers {reply.status}: {said}")
        return _taken(url, note, reply.body, witnesses)
    raise StoreError(f"the witness at `{url}` is asked about this log by others at the same time; try again")


def _taken(url: str, note: str, lines: str, witnesses: Sequence[WitnessKey]) -> list[Cosignature]:
    try:
        found = cosignatures(note.rpartition("\n\n")[0] + "\n\n" + lines, witnesses)
    except Corrupt as error:
        raise Corrupt(f"the witness at `{url}`: {error}") from error
    if not found:
        raise StoreError(f"the witness at `{url}` signs with none of the given keys; give its own with `--witness-key`")
    return found


def _size(url: str, body: str) -> int:
    try:
        return parse_size(body.removesuffix("\n"))
    except Corrupt as error:
        raise StoreError(f"the witness at `{url}` answers 409 with no size") from error


def _post(url: str, data: bytes) -> _Reply:
    if urlsplit(url).scheme not in ("http", "https"):
        raise StoreError(f"`{url}` is not the address of a witness; it begins with `https://`")
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
        url.rstrip("/") + PATH, data, {"content-type": "text/plain; charset=utf-8", "user-agent": "fiducial"}
    )
    try:
        try:
            with _opener.open(request, timeout=TIMEOUT) as answer:
                return _reply(answer.status, answer.headers.get("content-type", ""), answer)
        except urllib.error.HTTPError as refused:
            with refused:
                return _reply(refused.code, refused.headers.get("content-type", ""), refused)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise StoreError(
            f"the witness at `{url}` does not answer ({reason}); check its address, or try later"
        ) from error


def _reply(status: int, content_type: str, body: IO[bytes]) -> _Reply:
    data = body.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError("its answer is too long")
    return _Reply(status, content_type, data.decode())
