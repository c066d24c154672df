"""A witness over HTTP: one route, `POST /add-checkpoint`.

There is no authentication: only a checkpoint that a known log signed changes anything. Encryption, and limits on how
often anybody may ask, belong to a proxy in front of it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fiducial.errors import StoreError
from fiducial.store.published.submission import MAX_BYTES, PATH
from fiducial.store.published.witness import Answer, Witness


def application(witness: Witness) -> Starlette:
    """The ASGI application that answers for `witness`."""

    async def add_checkpoint(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MAX_BYTES:
                return _response(Answer(413, f"the request is larger than {MAX_BYTES} bytes\n"))
        return _response(await run_in_threadpool(witness.add_checkpoint, body))

    async def failed(_: Request, __: Exception) -> Response:
        return _response(Answer(500, "the witness's state cannot be used; nothing was signed\n"))

    return Starlette(
        routes=[Route(PATH, add_checkpoint, methods=["POST"])],
        exception_handlers={StoreError: failed},
    )


def serve(witness: Witness, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Answer on `host` and `port` (0: any free one) until interrupted; `ready` is told the URL. Raises `StoreError`."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise StoreError(f"cannot listen on `{host}:{port}` ({error.strerror}); give another `--listen`") from error
    with listener:
        shown = f"[{host}]" if ":" in host else host
        ready(f"http://{shown}:{listener.getsockname()[1]}")
        config = uvicorn.Config(application(witness), log_level="warning", access_log=False, lifespan="off")
        uvicorn.Server(config).run(sockets=[listener])


def _response(answer: Answer) -> Response:
    # Given as a header and not as a media type, to which Starlette would add a charset that the format does not have.
    return Response(answer.text, answer.status, headers={"content-type": answer.content_type})
