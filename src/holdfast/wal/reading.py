"""Reading a WAL file, and beginning with it early: a cold push spends half its time importing modules on one core.

So the other core reads and compresses meanwhile. That early part has few imports, and decides nothing: whatever goes
wrong in it is found again, and said, by the ordinary way.
"""

from __future__ import annotations

import mmap
import os
import stat
import sys
import threading
from typing import TYPE_CHECKING, Protocol

from holdfast.errors import ServerError, VerificationError
from holdfast.repository.walframes import FRAME_BYTES, Content, FrameCompressor, InMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.storage.base import Buffer

# O_NONBLOCK: a FIFO that somebody put there is refused, not waited for.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_TEXT_LIMIT_BYTES = 1 << 20
_LARGEST_EARLY_BYTES = 64 << 20
_LIKELY_LEVEL = 1
_SWITCH_EVERY_S = 0.0005
"""How long imports may keep the interpreter to themselves; Python's 5 ms would hold the early part up at every step."""


class WalFile(Content, Protocol):
    """The content of a file in ``pg_wal``, to be closed after use. Frames raise ServerError if it cannot be read."""

    @property
    def modified_ns(self) -> int:
        """The file's modification time."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


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
        """Yield the content, each frame in the same memory."""
        memory = memoryview(mmap.mmap(-1, FRAME_BYTES))
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
    """A file that was read and compressed early.

    It is read to where it stays, into memory that the kernel fills with zeros only as it is touched: filling and
    copying it here would hold up the imports, as Python lets only one thread do that.
    """

    def __init__(self, file: OpenWalFile) -> None:
        """Read and compress it; ServerError, also when it is shorter than it was."""
        super().__init__(memoryview(mmap.mmap(-1, file.length_bytes or 1))[: file.length_bytes])
        self.modified_ns = file.modified_ns
        self._packed: list[Buffer] = []
        compressor = FrameCompressor(_LIKELY_LEVEL)
        for number, frame in enumerate(self.frames()):
            if file.read_into(frame, number * FRAME_BYTES) != len(frame):
                raise ServerError("the file became shorter while it was read")
            self._packed.append(compressor.compress(frame))

    def close(self) -> None:
        """Nothing is open."""

    def packed(self, number: int, level: int) -> Buffer | None:
        """Return a frame as it was compressed early."""
        return self._packed[number] if level == _LIKELY_LEVEL else None


def read_wal_file(path: str, segment_size: int) -> WalFile:
    """Return a file; ServerError when it cannot be opened, VerificationError when it is longer than any WAL file."""
    try:
        return OpenWalFile(path, max(segment_size, _TEXT_LIMIT_BYTES))
    except OSError as error:
        raise _unreadable(path, error) from error


def read_early(path: str) -> Callable[[str, int], WalFile]:
    """Begin to read and compress a file in a thread; return what gives the result, or reads it anew if that failed."""
    results: list[EarlyWalFile] = []

    def work() -> None:
        try:
            file = OpenWalFile(path, _LARGEST_EARLY_BYTES)
        except (OSError, VerificationError):
            return
        try:
            results.append(EarlyWalFile(file))
        except (ServerError, ValueError):  # it cannot be read, or becomes shorter
            return
        finally:
            file.close()

    sys.setswitchinterval(_SWITCH_EVERY_S)
    thread = threading.Thread(target=work, name="wal-early", daemon=True)
    thread.start()

    def result(asked: str, segment_size: int) -> WalFile:
        if asked != path:
            return read_wal_file(asked, segment_size)
        thread.join()
        return results[0] if results else read_wal_file(asked, segment_size)

    return result


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
    reason = (error.strerror or "unknown error").lower()
    return ServerError(f"cannot read {path}: {reason}", hint="run as the owner of the cluster")
