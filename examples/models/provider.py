"""Stands for a model's provider: says what it read last, and obeys it."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer


class Provider(BaseHTTPRequestHandler):
    """Speaks as much of OpenAI's Chat Completions as an example needs."""

    def do_POST(self) -> None:
        """Answer the last message."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        last = asked["messages"][-1]
        message = {"role": "assistant", "content": f"I read: {last['content']}"}
        if "refund" in last["content"]:  # whoever says it: a model that obeys whatever it reads
            order = {"order_id": last["content"].split()[-1], "amount": 5}
            made = {"name": "refund_order", "arguments": json.dumps(order)}
            call = {"id": "call_1", "type": "function", "function": made}
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if "tool_calls" in message else "stop"}
        answer = {"id": "1", "object": "chat.completion", "created": 0, "model": asked["model"], "choices": [choice]}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        print("the model was told:", last["content"], flush=True)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing but what it was told."""


print("listening", flush=True)
HTTPServer(("127.0.0.1", 8499), Provider).serve_forever()
