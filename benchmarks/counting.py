"""A server that counts its requests, and takes long enough over each that callers meet."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.upstream import SECRET


@contextmanager
def server() -> Iterator[tuple[str, Callable[[], int]]]:
    """Its base URL, and how many requests it has had."""
    count = 0
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            nonlocal count
            with lock:
                count += 1
            time.sleep(0.2)
            self.send_response(200)
            self.send_header("Content-Length", str(len(SECRET)))
            self.end_headers()
            self.wfile.write(SECRET)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in http.server
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 2048
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a caller that leaves is no news

    listening = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}", lambda: count
    finally:
        listening.shutdown()
        listening.server_close()
