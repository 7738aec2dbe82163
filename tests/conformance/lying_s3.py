"""An S3 server that lies: for faults that no honest server can be brought to show.

It speaks just enough of the protocol for one object at a time to be put, asked for and fetched.
"""

from __future__ import annotations

import hashlib
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from holdfast.storage.options import StorageOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HIDDEN_ERROR = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>try again</Message></Error>"


def page(*names: str, more_follow: bool = False) -> bytes:
    """Return one page of a listing as S3 sends it."""
    token = "<NextContinuationToken>next</NextContinuationToken>" if more_follow else ""
    contents = "".join(
        f"<Contents><Key>{name}</Key><Size>1</Size><ETag>x</ETag>"
        "<LastModified>2026-11-21T08:00:00.000Z</LastModified></Contents>"
        for name in names
    )
    return f"<ListBucketResult>{token}{contents}</ListBucketResult>".encode()


def _md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


class LyingServer(ThreadingHTTPServer):
    """Keeps ``keep(data)`` of what is put, under the ETag ``etag(data)``; None: nothing, as only the body says."""

    def __init__(self, keep: Callable[[bytes], bytes | None], etag: Callable[[bytes], str] = _md5) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.keep = keep
        self.listings: Iterator[bytes] = iter(())
        self.etag = etag
        self.etag_is_sent = True
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []

    @property
    def options(self) -> StorageOptions:
        """The options that reach this server, without repetition."""
        return StorageOptions(
            endpoint=f"http://127.0.0.1:{self.server_port}",
            access_key_id="KEY",
            secret_access_key="SECRET",
            plain_http_is_allowed=True,
            retry_deadline_s=0,
        )


_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class _Handler(BaseHTTPRequestHandler):
    server: LyingServer

    def do_PUT(self) -> None:
        kept = self.server.keep(self.rfile.read(int(self.headers["Content-Length"])))
        if kept is None:
            self._answer(200, HIDDEN_ERROR, {"ETag": f'"{_md5(HIDDEN_ERROR)}"'} if self.server.etag_is_sent else {})
            return
        self.server.objects[self.path] = kept
        self._answer(200, b"", {"ETag": f'"{self.server.etag(kept)}"'})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if "list-type=2" in self.path:
            self._answer(200, next(self.server.listings), {})
            return
        data = self.server.objects.get(self.path)
        if data is None:
            self._answer(404, b"", {})
            return
        modified = {"ETag": f'"{self.server.etag(data)}"', "Last-Modified": "Sat, 21 Nov 2026 08:00:00 GMT"}
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        if asked is None:
            self._answer(200, data, modified)
            return
        first, last = int(asked[1]), min(int(asked[2]), len(data) - 1)
        part = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
        self._answer(206, data[first : last + 1], modified | part)

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def running(server: LyingServer) -> Iterator[LyingServer]:
    """Run a server until the block ends."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
