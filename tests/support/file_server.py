"""A server of one file, which can be made to misbehave."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def archive(content: bytes, name: str = "model_infer/inference.pdiparams") -> bytes:
    """A release archive with one file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


CONTENT = archive(bytes(range(256)) * 360)


class Handler(BaseHTTPRequestHandler):
    """Gives `CONTENT` for every path; what it was asked for stands in the server's `asked`."""

    def do_GET(self):
        server = self.server
        server.asked.append((self.path, self.headers.get("Range")))
        server.answers.wait(10)
        status = server.statuses.pop(0) if server.statuses else server.status
        if status != 200:
            self.send_response(status)
            for name, value in server.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        begin = 0
        if server.ranges and self.headers.get("If-Range") == server.tag:
            begin = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        body = server.content[begin:]
        self.send_response(206 if begin else 200)
        for name, value in server.headers.items():
            self.send_header(name, value)
        if server.endless:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(server.length or len(body)))
        if server.tag:
            self.send_header("ETag", server.tag)
        if begin:
            last = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {begin}-{last}/{len(server.content)}")
        self.end_headers()
        if server.endless:
            self.send_without_end()
        else:
            self.wfile.write(body[: server.cut.pop(0)] if server.cut else body)

    def send_without_end(self):
        """Send chunk after chunk until the client hangs up."""
        with suppress(ConnectionError):
            while not self.server.stopping.wait(self.server.pause):
                self.wfile.write(f"{self.server.chunk:x}\r\n".encode())
                self.wfile.write(bytes(self.server.chunk) + b"\r\n")

    def log_message(self, *_):
        pass


@contextmanager
def serve() -> Iterator[ThreadingHTTPServer]:
    """A server.

    `cut` lists after how many bytes it breaks off, `statuses` what it answers, request by request.
    With `endless` it sends chunks of `chunk` bytes, every `pause` seconds, without an end.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.tag, server.status, server.cut = CONTENT, '"v1"', 200, []
    server.ranges, server.length, server.headers, server.asked = True, 0, {}, []
    server.url = f"http://127.0.0.1:{server.server_port}/release/model_infer.tar"
    server.statuses, server.endless, server.chunk, server.pause = [], False, 1 << 16, 0
    server.answers, server.stopping = threading.Event(), threading.Event()
    server.answers.set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.stopping.set()
    server.shutdown()
    server.server_close()
    thread.join()
