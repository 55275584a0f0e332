"""A local server for tests that sends bytes as they are, well-formed or not."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


@contextmanager
def serve_pieces(*pieces: bytes, repeat: bytes = b"", every_s: float = 0.0) -> Iterator[str]:
    """Serve each request the pieces, and then `repeat` for ever; yield the URL."""
    ended = Event()

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(2**16)
            for piece in pieces:
                connection.sendall(piece)
            while repeat and not ended.is_set():
                connection.sendall(repeat)
                time.sleep(every_s)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(2**16):
                pass

    def accept() -> None:
        with suppress(OSError):
            while True:
                Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
