"""Reading a WAL file: each time anew, frame by frame; or taking what a cold push has read and compressed early."""

from __future__ import annotations

import mmap
import os
import stat
import threading
from typing import TYPE_CHECKING, Protocol

from holdfast.errors import ServerError, VerificationError, reason_of
from holdfast.repository.walframes import FRAME_BYTES, Content, InMemory
from holdfast.wal.early import LIKELY_LEVEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.storage.base import Buffer
    from holdfast.wal.early import EarlyRead

# O_NONBLOCK: a FIFO that somebody put there is refused, not waited for.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_TEXT_LIMIT_BYTES = 1 << 20


class WalFile(Content, Protocol):
    """The content of a file in ``pg_wal``, to be closed after use. Frames raise ServerError if it cannot be read."""

    @property
    def modified_ns(self) -> int:
        """The file's modification time."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class _Kept(threading.local):
    """The memory into which this thread reads frames: new memory costs a fault for every page."""

    def __init__(self) -> None:
        self.frame = memoryview(mmap.mmap(-1, FRAME_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


_kept = _Kept()


class OpenWalFile:
    """A file that is read, each time anew, while its content is gone through."""

    def __init__(self, path: str, limit_bytes: int) -> None:
        """Open it; OSError, VerificationError when it is no file, or longer than ``limit_bytes``."""
        self._path = path
        self._descriptor = os.open(path, _READ)
        try:
            found = os.fstat(self._descriptor)
            _require_file(path, found, limit_bytes)
        except BaseException:
            self.close()
            raise
        self.modified_ns, self.length_bytes = found.st_mtime_ns, found.st_size

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def frames(self) -> Iterator[memoryview]:
        """Yield the content, each frame in the same memory, as do all files that this thread reads."""
        memory = _kept.frame
        for at in range(0, self.length_bytes, FRAME_BYTES):
            frame = memory[: min(FRAME_BYTES, self.length_bytes - at)]
            yield frame[: self.read_into(frame, at)]

    def read_into(self, memory: memoryview, at: int) -> int:
        """Fill memory with what begins at ``at``; return how many bytes there were. ServerError."""
        done = 0
        try:
            while done < len(memory) and (count := os.preadv(self._descriptor, [memory[done:]], at + done)):
                done += count  # one read may give less, when a signal interrupts it
        except OSError as error:
            raise _unreadable(self._path, error) from error
        return done

    def packed(self, number: int, level: int) -> None:  # noqa: ARG002 - the interface
        """Nothing was compressed before."""
        return


class EarlyWalFile(InMemory):
    """A file that was read and compressed early."""

    def __init__(self, early: EarlyRead, content: memoryview) -> None:
        super().__init__(content)
        self.modified_ns, self._packed = early.modified_ns, early.packed

    def close(self) -> None:
        """Nothing is open."""

    def packed(self, number: int, level: int) -> Buffer | None:
        """Return a frame as it was compressed early."""
        return self._packed[number] if level == LIKELY_LEVEL else None


def read_wal_file(path: str, segment_size: int) -> WalFile:
    """Return a file; ServerError when it cannot be opened, VerificationError when it is longer than any WAL file."""
    try:
        return OpenWalFile(path, max(segment_size, _TEXT_LIMIT_BYTES))
    except OSError as error:
        raise _unreadable(path, error) from error


def reader(early: EarlyRead) -> Callable[[str, int], WalFile]:
    """Return what opens files as ``read_wal_file`` does, but gives the one that was begun early, unless that failed."""

    def read(path: str, segment_size: int) -> WalFile:
        if path == early.path:
            early.wait()
            if early.content is not None:
                return EarlyWalFile(early, early.content)
        return read_wal_file(path, segment_size)

    return read


def _require_file(path: str, found: os.stat_result, limit_bytes: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise VerificationError(
            f"{path} is not a regular file", hint="give the path of a WAL file, as archive_command does with %p"
        )
    if found.st_size > limit_bytes:
        raise VerificationError(
            f"{path} is {found.st_size} bytes long, longer than a segment of this cluster",
            hint="if the cluster was made anew with another segment size, run 'holdfast wal setup' again",
        )


def _unreadable(path: str, error: OSError) -> ServerError:
    return ServerError(f"cannot read {path}: {reason_of(error)}", hint="run as the owner of the cluster")
