"""Stands for Claude: reads the file, pays what it says there, and tells what came of it."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer

PAYMENT = {"recipient": "GB29NWBK60161331926819", "amount": 10.0, "subject": "rent", "date": "2022-01-01"}


class Model(BaseHTTPRequestHandler):
    """Speaks as much of Anthropic's Messages API as an example needs."""

    def do_POST(self) -> None:
        """Answer the last message."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        results = [block for block in asked["messages"][-1]["content"] if isinstance(block, dict)]
        results = [block["content"] for block in results if block["type"] == "tool_result"]
        made = [block["name"] for message in asked["messages"] for block in message["content"] if calls(block)]
        if results and made[-1].endswith("send_money"):
            self.say({"type": "text", "text": ""}, {"type": "text_delta", "text": told(results[-1])}, "end_turn")
        elif made:
            self.call("mcp__bank__send_money", PAYMENT, len(made))
        else:
            self.call("mcp__bank__read_file", {"file_path": "landlord.txt"}, 0)

    def call(self, tool: str, arguments: dict[str, object], number: int) -> None:
        """Answer with a call of a tool."""
        start = {"type": "tool_use", "id": f"toolu_{number}", "name": tool, "input": {}}
        self.say(start, {"type": "input_json_delta", "partial_json": json.dumps(arguments)}, "tool_use")

    def say(self, start: dict[str, object], delta: dict[str, str], reason: str) -> None:
        """Answer with one block, as a stream of events."""
        usage = {"input_tokens": 1, "output_tokens": 1}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": []}
        events = [
            {"type": "message_start", "message": message | {"stop_reason": None, "usage": usage}},
            {"type": "content_block_start", "index": 0, "content_block": start},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage},
            {"type": "message_stop"},
        ]
        body = "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        """It is there."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def calls(block: object) -> bool:
    """A call of a tool."""
    return isinstance(block, dict) and block["type"] == "tool_use"


def told(content: object) -> str:
    """What a model is told of a call."""
    return content if isinstance(content, str) else "".join(block["text"] for block in content)  # type: ignore[attr-defined]


print("listening", flush=True)
HTTPServer(("127.0.0.1", 8498), Model).serve_forever()
