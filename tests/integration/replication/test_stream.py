"""What comes is judged by what the server says of it: how much there will be, and which bytes it sent."""

import os

import pytest
from tests.integration.backup_restore.stack import At

from holdfast.errors import VerificationError
from holdfast.postgres.base_backup_socket import SocketChannel
from holdfast.progress import Silence


class Progress(Silence):
    """A Reporter that adds up what was announced and done of the files."""

    def __init__(self):
        self.announced = self.done = 0
        self._counts = False

    def phase(self, name, *, total_bytes=None):
        self._counts = name == "copying files"
        self.announced += total_bytes or 0

    def advance(self, done_bytes):
        if self._counts:
            self.done += done_bytes


def test_progress_is_measured_by_the_servers_estimate(cluster, make_stack):
    progress = Progress()
    make_stack(cluster).back_up_here(progress)
    assert progress.done > 20 << 20
    assert abs(progress.announced - progress.done) < 0.1 * progress.done


def test_bytes_that_change_on_the_way_void_the_backup(cluster, make_stack, monkeypatch):
    """The commit log has no checksums of its own: only the server's list tells."""
    content = b"".join(path.read_bytes() for path in sorted((cluster.data_directory / "pg_xact").iterdir()))
    read, is_changed = SocketChannel.read, []

    def sabotaged(self, buffer):
        count = read(self, buffer)
        if not is_changed and bytes(buffer[:count]).startswith(content[:64]) and content.strip(b"\0"):
            buffer[3] ^= 1
            is_changed.append(count)
        return count

    monkeypatch.setattr(SocketChannel, "read", sabotaged)
    stack = make_stack(cluster)
    with pytest.raises(VerificationError, match="another checksum than the server lists") as caught:
        stack.back_up_here(At("", lambda: None))
    assert is_changed
    assert "pg_xact" in caught.value.message
    assert caught.value.hint
    assert stack.snapshots() == []
    monkeypatch.undo()
    stack.backup()


def test_nothing_is_written_beside_the_repository(cluster, make_stack, tmp_path, monkeypatch):
    """The stream is never put down on a disk on its way."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    stack = make_stack(cluster)
    opened = os.open
    written = []

    def watched(path, flags, *arguments, **named):
        if flags & (os.O_WRONLY | os.O_RDWR) and named.get("dir_fd") is None:
            written.append(os.fsdecode(path))
        return opened(path, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", watched)
    stack.back_up_here(At("", lambda: None))
    assert list(scratch.iterdir()) == []
    cache = stack.environment["XDG_CACHE_HOME"]
    assert written
    assert [path for path in written if not path.startswith((str(stack.place), cache))] == []
