"""A local HTTP server for tests that speaks vLLM's protocol, without a model.

It streams `tokens` words per request. Its counters are those of speculative decoding: `drafts`
drafts of 3 tokens per request, the first always accepted, the second half of the time.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

MODEL = "tiny"


@dataclass
class Server:
    """The server's behaviour, and the requests it received."""

    url: str = ""
    tokens: Callable[[int], int] = lambda number: 6  # by the number of the request
    drafts: int = 2
    accepted: float = 1.5  # accepted tokens per draft
    status: int = 200
    has_metrics: bool = True
    stranger: int = 0  # other clients' requests per request of ours
    usage: bool = True
    pages: dict[str, Any] = field(default_factory=dict)  # path -> JSON
    last: Callable[[int], dict[str, Any]] = lambda number: {}  # more fields of the last event
    meta: dict[str, Any] | None = None  # `meta_info` of a reply that is not streamed
    requests: list[dict[str, Any]] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def metrics(self) -> str:
        """Return the page of counters, with those of another model too."""
        done = len(self.requests) * (1 + self.stranger)
        drafts = done * self.drafts
        label = f'engine="0",model_name="{MODEL}"'
        counters = {
            f"vllm:spec_decode_num_drafts_total{{{label}}}": drafts,
            f"vllm:spec_decode_num_draft_tokens_total{{{label}}}": 3 * drafts,
            f"vllm:spec_decode_num_accepted_tokens_total{{{label}}}": self.accepted * drafts,
            f'vllm:spec_decode_num_accepted_tokens_per_pos_total{{{label},position="0"}}': drafts,
            f'vllm:spec_decode_num_accepted_tokens_per_pos_total{{{label},position="1"}}': drafts
            / 2,
            f'vllm:spec_decode_num_accepted_tokens_per_pos_total{{{label},position="2"}}': 0,
            f'vllm:request_success_total{{{label},finished_reason="stop"}}': done,
            'vllm:spec_decode_num_drafts_total{model_name="other"}': 1e6 + done,
        }
        lines = ["# HELP vllm:spec_decode_num_drafts Number of drafts.", "process_bytes NaN"]
        return "\n".join([*lines, *(f"{name} {float(value)}" for name, value in counters.items())])

    def events(self, number: int) -> Iterator[dict[str, Any]]:
        """Yield the events of a stream: the role, several tokens at once, the usage."""
        count = self.tokens(number)
        yield {"choices": [{"delta": {"role": "assistant", "content": ""}}]}
        yield {"choices": [{"delta": {"content": "word "}}]}
        yield {"choices": [{"delta": {"content": "word " * (count - 1)}, "finish_reason": "stop"}]}
        if self.usage:
            yield {"choices": [], "usage": {"completion_tokens": count}, **self.last(number)}

    def whole(self, number: int) -> dict[str, Any]:
        """Return a reply that is not streamed."""
        choice = {"index": 0, "message": {"content": "word"}, "finish_reason": "stop"}
        choice |= {"meta_info": self.meta} if self.meta is not None else {}
        return {"choices": [choice], "usage": {"completion_tokens": self.tokens(number)}}


@contextmanager
def serve(server: Server) -> Iterator[Server]:
    """Serve while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                number = len(server.requests)
                server.requests.append({**asked, "authorization": self.headers["Authorization"]})
            self.send_response(server.status)
            self.end_headers()
            if server.status != 200:
                self.wfile.write(f"no: {self.headers['Authorization']}".encode())
                return
            if not asked.get("stream"):
                self.wfile.write(json.dumps(server.whole(number)).encode())
                return
            for event in server.events(number):
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                self.wfile.flush()
            self.wfile.write(b"data: [DONE]\n\n")

        def do_GET(self) -> None:
            there = self.path == "/metrics" and server.has_metrics
            page = server.metrics() if there else server.pages.get(self.path)
            self.send_response(404 if page is None else 200)
            self.end_headers()
            text = page if isinstance(page, str) else json.dumps(page)
            self.wfile.write(b"" if page is None else text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_port}/v1"
        thread = Thread(target=http.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
