"""The files driver survives SIGKILL at any instant: what is visible is whole, what was acknowledged is there."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from holdfast.storage.files import FilesStorage

if TYPE_CHECKING:
    from pathlib import Path

_ROUNDS = 25

# Each object begins with the digest of what follows. The name of each is printed once its put has returned.
_WRITER = """
import hashlib, os, secrets, sys, threading
from holdfast.storage.files import FilesStorage

storage = FilesStorage(sys.argv[1])

def write() -> None:
    while True:
        name = secrets.token_hex(16)
        body = os.urandom(64) * (1 + secrets.randbelow(30_000))
        storage.put(f"packs/data/{name[:2]}/{name}", hashlib.sha256(body).digest() + body)
        os.write(1, f"packs/data/{name[:2]}/{name}\\n".encode())
        storage.put("sessions/one", hashlib.sha256(body[:999]).digest() + body[:999], must_not_exist=False)

for _ in range(3):
    threading.Thread(target=write).start()
"""


def test_every_visible_object_is_whole_and_every_acknowledged_one_is_there(tmp_path: Path):
    seed = int(os.environ.get("HOLDFAST_TEST_SEED") or time.time_ns())
    print(f"HOLDFAST_TEST_SEED={seed}")
    instants = random.Random(seed)
    acknowledged: set[str] = set()
    for _ in range(_ROUNDS):
        acknowledged |= _write_and_be_killed(tmp_path / "root", instants.uniform(0.0, 0.15))
    storage = FilesStorage(str(tmp_path / "root"))
    listed = {info.name: info.size_bytes for info in storage.list()}
    assert len(acknowledged) >= _ROUNDS
    assert acknowledged <= listed.keys()
    for name, size_bytes in listed.items():
        stored = bytes(storage.get(name))
        assert len(stored) == size_bytes
        assert stored[:32] == hashlib.sha256(stored[32:]).digest(), name


def _write_and_be_killed(root: Path, after_s: float) -> set[str]:
    """Run the writer until some time after its first put; return what it said it had stored."""
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(root)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    with writer:
        first = writer.stdout.readline()
        time.sleep(after_s)
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read()
    assert writer.returncode == -signal.SIGKILL
    return set((first + rest[: rest.rfind(b"\n") + 1]).decode().split())
