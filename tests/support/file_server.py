"""A server of one file, which can be made to misbehave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = bytes(range(256)) * 400


class Handler(BaseHTTPRequestHandler):
    """Gives `CONTENT` for every path; what it was asked for stands in the server's `asked`."""

    def do_GET(self):
        server = self.server
        server.asked.append((self.path, self.headers.get("Range")))
        server.answers.wait(10)
        if server.status != 200:
            self.send_error(server.status)
            return
        begin = 0
        if server.ranges and self.headers.get("If-Range") == server.tag:
            begin = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        body = server.content[begin:]
        self.send_response(206 if begin else 200)
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(server.length or len(body)))
        if server.tag:
            self.send_header("ETag", server.tag)
        if begin:
            last = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {begin}-{last}/{len(server.content)}")
        self.end_headers()
        self.wfile.write(body[: server.cut.pop(0)] if server.cut else body)

    def log_message(self, *_):
        pass


@contextmanager
def serve() -> Iterator[ThreadingHTTPServer]:
    """A server; `cut` lists after how many bytes it breaks off, request by request."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.tag, server.status, server.cut = CONTENT, '"v1"', 200, []
    server.ranges, server.length, server.headers, server.asked = True, 0, {}, []
    server.url = f"http://127.0.0.1:{server.server_port}/release/model_infer.tar"
    server.answers = threading.Event()
    server.answers.set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
