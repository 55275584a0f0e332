"""A local HTTP judge for tests; a function computes its answers."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Answer = tuple[int, Any]  # status and body: text, or a value sent as JSON


@dataclass
class Served:
    """The judge's endpoint and the requests it received."""

    endpoint: str
    requests: list[dict[str, Any]] = field(default_factory=list)  # fields, path, authorization


def says(reply: str) -> Answer:
    """Return the answer with a reply."""
    return 200, {"choices": [{"message": {"role": "assistant", "content": reply}}]}


@contextmanager
def serve(answer: Callable[[dict[str, Any]], Answer]) -> Iterator[Served]:
    """Serve `answer(request)` for each request while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked = json.loads(body) | {
                "path": self.path,
                "authorization": self.headers.get("Authorization"),
            }
            served.requests.append(asked)
            status, value = answer(asked)
            sent = (value if isinstance(value, str) else json.dumps(value)).encode()
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", value)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Served(f"http://127.0.0.1:{server.server_port}/v1")
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
