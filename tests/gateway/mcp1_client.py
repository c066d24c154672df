"""Clients of the MCP SDK of the major version before, asked by lines of JSON: each has a number, and so has its answer.

{"number": 1, "url": …, "headers": …}              connect
{"number": 2, "in": 1, "tool": …, "arguments": …}  call a tool, as the client of line 1
{"number": 3, "up": 2}                             give up the call of line 2
{"number": 4, "in": 1}                             leave
"""
# mypy: ignore-errors

from __future__ import annotations

import asyncio
import json
import sys

from mcp import ClientSession, types
from mcp.client.streamable_http import streamablehttp_client

CLIENTS, CALLS = {}, {}


def say(number, **said):
    print(json.dumps({"number": number, **said}), flush=True)


async def connect(number, url, headers):
    try:
        async with streamablehttp_client(url, headers) as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            CLIENTS[number] = session, asyncio.Event(), asyncio.current_task()
            say(number)
            await CLIENTS[number][1].wait()
    except Exception as error:
        say(number, error=str(error))


async def call(number, session, tool, arguments):
    CALLS[number] = session, session._request_id, asyncio.current_task()
    try:
        done = await session.call_tool(tool, arguments)
    except Exception as error:
        say(number, error=str(error))
        return
    text = "".join(block.text for block in done.content)
    say(number, text=text, failed=done.isError, meta=done.meta or {})


async def give_up(number, session, request, calling):
    params = types.CancelledNotificationParams(requestId=request)
    notification = types.CancelledNotification(method="notifications/cancelled", params=params)
    await session.send_notification(types.ClientNotification(notification))
    calling.cancel()
    say(number)


async def leave(number, ending, client):
    ending.set()
    await client
    say(number)


async def main():
    tasks, lines = set(), asyncio.StreamReader(limit=2**26)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async for line in lines:
        asked = json.loads(line)
        number = asked["number"]
        if "url" in asked:
            work = connect(number, asked["url"], asked["headers"])
        elif "up" in asked:
            work = give_up(number, *CALLS[asked["up"]])
        elif "tool" in asked:
            work = call(number, CLIENTS[asked["in"]][0], asked["tool"], asked["arguments"])
        else:
            work = leave(number, *CLIENTS[asked["in"]][1:])
        tasks.add(asyncio.create_task(work))


asyncio.run(main())
