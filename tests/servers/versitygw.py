"""A real S3 server for tests: versitygw (Apache-2.0) over a directory, on 127.0.0.1 and a free port."""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from tests.servers.downloads import go_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

_MODULE = "github.com/versity/versitygw/cmd/versitygw"
_VERSION = "v1.8.0"
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 10.0


class VersityGateway:
    """An S3 server whose buckets live beneath ``directory``; use it in a ``with``, or call start and stop.

    ``stop`` followed by ``start`` gives the same server at the same endpoint, with what it held.
    """

    region = "us-east-1"

    def __init__(self, directory: Path) -> None:
        self.access_key = "HOLDFASTTEST"
        self.secret_key = secrets.token_hex(20)
        self._directory = directory.resolve()
        self._buckets = self._directory / "buckets"
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """The URL of the server; known once it was started."""
        assert self._port is not None, "the server was never started"
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        program = go_program(_MODULE, _VERSION)
        for name in ("buckets", "versions", "iam"):
            (self._directory / name).mkdir(parents=True, exist_ok=True)
        ports = [self._port] if self._port else [_free_port() for _ in range(5)]
        for port in ports:  # another process may take a free port before the server does
            self._process = self._launch(program, port)
            if _answers(self._process, port):
                self._port = port
                return
            self.stop()
        raise RuntimeError(f"versitygw did not start:\n{self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        """End the server; what it holds stays."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Let the server accept connections, and answer none of them."""
        assert self._process is not None, "the server does not run"
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def make_bucket(self, name: str) -> str:
        """Make a bucket and return its name. The server shows each directory beneath its own as a bucket."""
        (self._buckets / name).mkdir()
        return name

    def bucket_directory(self, name: str) -> Path:
        """Return where the objects of a bucket lie as files, for tests that damage them."""
        return self._buckets / name

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _log(self) -> Path:
        return self._directory / "versitygw.log"

    def _launch(self, program: Path, port: int) -> subprocess.Popen[bytes]:
        place = self._directory
        command = [str(program), "-p", f"127.0.0.1:{port}", "--quiet", "--keep-alive", "--region", self.region]
        command += ["--iam-dir", str(place / "iam"), "posix", "--versioning-dir", str(place / "versions")]
        # The keys go by environment: the command line is shown to everyone.
        environment = {"ROOT_ACCESS_KEY_ID": self.access_key, "ROOT_SECRET_ACCESS_KEY": self.secret_key}
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [*command, str(self._buckets)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return process.poll() is None
        except OSError:
            time.sleep(0.05)
    return False


def repository_section(gateway: VersityGateway, directory: Path) -> dict[str, object]:
    """Return the section of a stack file for a repository in a new bucket; its secret is written into ``directory``."""
    secret = directory / "secret"
    secret.write_text(gateway.secret_key)
    secret.chmod(0o600)
    s3 = {
        "endpoint": gateway.endpoint,
        "region": gateway.region,
        "allow_http": True,
        "access_key_id": gateway.access_key,
        "secret_access_key": {"file": str(secret)},
    }
    return {"url": f"s3://{gateway.make_bucket('backups')}/shop", "s3": s3}
