"""Opening a repository comes first: what it refuses is said before anything else, and nobody is asked for more."""

from __future__ import annotations

import signal
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.integration.backup_restore.stack import StackDirectory, finish, wait_until
from tests.integration.cli.calling import tree

from holdfast.config.load import load_stack
from holdfast.model import new_object_id
from holdfast.operations.init import init
from holdfast.operations.wiring import open_stack_repository
from holdfast.repository.key_slot import passphrase_slot
from holdfast.repository.slots import store_slot

if TYPE_CHECKING:
    from collections.abc import Iterator

RIGHT, WRONG = "the right one", "the wrong one"
SLOTS = 8
"""Of passphrases that nobody has here: trying all of them takes some seconds."""


@contextmanager
def silent_server() -> Iterator[socket.socket]:
    """Yield what listens, and takes connections as the system does: it never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def was_asked(server: socket.socket) -> bool:
    """Whether anybody came."""
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A server that never answers."""
    with silent_server() as server:
        yield server


@pytest.fixture
def stack(server, tmp_path) -> StackDirectory:
    """A repository with a passphrase; its service is that server's."""
    secret = tmp_path / "passphrase"
    secret.touch(mode=0o600)
    secret.write_text(RIGHT)
    port = server.getsockname()[1]
    stack = StackDirectory(
        tmp_path / "stack",
        {"db": f"host=127.0.0.1 port={port} user=postgres dbname=postgres"},
        repository={"passphrase": {"file": str(secret)}},
    )
    init(load_stack(stack.config), None, unencrypted=False)
    return stack


def passphrase(stack: StackDirectory) -> Path:
    """Return where the passphrase is."""
    assert isinstance(stack.repository["passphrase"], dict)
    return Path(stack.repository["passphrase"]["file"])


def take_long(stack: StackDirectory) -> None:
    """Have the passphrase tried at many slots, none of which it opens."""
    repository = open_stack_repository(load_stack(stack.config))
    assert repository.keys.keyring is not None
    slot = passphrase_slot(repository.config.id, repository.keys.keyring, b"somebody else's")
    for info in list(repository.storage.list("keys")):
        repository.storage.delete(info.name)
    for _ in range(SLOTS):
        store_slot(repository.storage, repository.keys, msgspec.structs.replace(slot, id=new_object_id()))


def threads(pid: int) -> int:
    """Return how many threads a process has, 0 for one that has ended."""
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    except OSError:
        return 0


def test_a_wrong_passphrase_is_all_that_is_said_where_the_server_is_away_too(stack, server):
    passphrase(stack).write_text(WRONG)
    before = tree(stack.place)
    server.close()
    refused = finish(stack.start("backup", "db"))
    assert refused.code == 12
    assert refused.error["error"] == "KeyRefusedError"
    assert [message["message_type"] for message in refused.messages] == ["error"]
    assert tree(stack.place) == before


def test_with_a_wrong_passphrase_no_server_is_asked(stack, server):
    passphrase(stack).write_text(WRONG)
    assert finish(stack.start("backup", "db")).code == 12
    assert not was_asked(server)


def test_with_the_right_one_the_server_is_asked_and_is_what_is_said(stack, server):
    server.close()
    refused = finish(stack.start("backup", "db"))
    assert refused.code == 1
    assert refused.error["error"] == "ServerUnreachableError"


def test_a_service_that_does_not_exist_is_said_before_any_key_is_tried(stack):
    passphrase(stack).write_text(WRONG)
    assert finish(stack.start("backup", "nothing")).code == 2


@pytest.mark.parametrize("arguments", [["backup", "db"], ["restore", "db", "--target", "TARGET"], ["check"]])
def test_an_interruption_while_keys_are_tried_ends_the_run(stack, server, tmp_path, arguments):
    take_long(stack)
    before = tree(stack.place)
    target = tmp_path / "target"
    child = stack.start(*(str(target) if word == "TARGET" else word for word in arguments))
    wait_until(lambda: threads(child.pid) > 2 or child.poll() is not None)  # of OpenSSL, for the lanes of Argon2id
    child.send_signal(signal.SIGINT)
    interrupted = finish(child)
    assert interrupted.code == 130
    assert interrupted.error["message"] == "interrupted"
    assert tree(stack.place) == before
    assert not target.exists()
    assert not was_asked(server)


@pytest.mark.parametrize(
    "arguments",
    [
        ["backup", "db"],
        ["restore", "db", "--target", "/nowhere/else"],
        ["restore", "db", "--target", "/nowhere/else", "--delta"],
        ["check"],
        ["ls", "latest"],
        ["stats"],
        ["diff", "latest", "latest"],
    ],
    ids=lambda arguments: arguments[0] + arguments[-1].replace("/", "-"),
)
def test_what_is_needed_later_is_loaded_while_keys_are_tried_and_not_before(tmp_path, arguments):
    stack = StackDirectory(tmp_path / "empty", {"db": "host=/nowhere"})
    python, *command = stack.command(*arguments)
    run = subprocess.run(
        [python, "-X", "importtime", *command], capture_output=True, text=True, env=stack.environment, check=False
    )
    assert run.returncode == 10, run.stderr[-2000:]
    loaded = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines() if line.startswith("import time:")}
    assert "holdfast.repository.opening" in loaded
    assert not loaded & {"numpy", "psycopg"}


def test_an_interruption_does_not_wait_for_a_storage_that_is_away(tmp_path):
    for name in ("id", "key"):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(name * 8)
    with silent_server() as storage:
        s3 = {
            "endpoint": f"http://127.0.0.1:{storage.getsockname()[1]}",
            "allow_http": True,
            "access_key_id": "somebody",
            "secret_access_key": {"file": str(tmp_path / "key")},
        }
        stack = StackDirectory(tmp_path / "stack", {"db": "host=/nowhere"}, {"url": "s3://bucket/prefix", "s3": s3})
        child = stack.start("backup", "db")
        asked = 0

        def has_been_asked_again() -> bool:
            nonlocal asked
            asked += was_asked(storage)
            return asked > 3 or child.poll() is not None

        wait_until(has_been_asked_again)
        child.send_signal(signal.SIGINT)
        assert finish(child).code == 130
