"""A hub on this machine: as much of Hugging Face's as its library asks of it to bring a model's files."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves the files of one folder as those of any model; ``cut`` breaks off after so many bytes of each."""

    daemon_threads = True
    cut: int | None = None

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.asked: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


def sha1(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(send=False)

    def do_GET(self) -> None:
        self._answer(send=True)

    def _answer(self, *, send: bool) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/api/"):
            listed = [
                {"type": "file", "path": own.name, "size": own.stat().st_size, "oid": sha1(own.read_bytes())}
                for own in sorted(self.server.folder.iterdir())
            ]
            content = listed if "/tree/" in path else {"id": "org/name", "sha": COMMIT, "siblings": []}
            self._send(json.dumps(content).encode(), send=send, kind="application/json")
            return
        content = (self.server.folder / path.rsplit("/", 1)[-1]).read_bytes()
        asked = self.headers.get("Range")
        if send:
            self.server.asked.append((path.rsplit("/", 1)[-1], asked))
        begin = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        self._send(content, begin=begin, send=send, kind="application/octet-stream")

    def _send(self, content: bytes, *, send: bool, kind: str, begin: int = 0) -> None:
        self.send_response(206 if begin else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content) - begin))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{sha1(content)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if send:
            self.wfile.write(content[begin : self.server.cut])
            if self.server.cut is not None and len(content) > self.server.cut:
                self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[Hub]:
    with Hub(folder) as own:
        thread = threading.Thread(target=own.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield own
        own.shutdown()
        thread.join()
