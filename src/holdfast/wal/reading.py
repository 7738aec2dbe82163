"""Reading a WAL file, and beginning with it early: a cold push spends half its time importing modules on one core.

So the other core reads and compresses meanwhile. That early part has few imports, and decides nothing: whatever goes
wrong in it is found again, and said, by the ordinary way.
"""

from __future__ import annotations

import os
import stat
import sys
import threading
from typing import TYPE_CHECKING, NamedTuple

from holdfast.errors import ServerError, VerificationError
from holdfast.repository.walframes import PackedFrames, compress_frame, cut

if TYPE_CHECKING:
    from collections.abc import Callable

# O_NONBLOCK: a FIFO that somebody put there is refused, not waited for.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_TEXT_LIMIT_BYTES = 1 << 20
_LARGEST_EARLY_BYTES = 64 << 20
_LIKELY_LEVEL = 1
_SWITCH_EVERY_S = 0.0005
"""How long imports may keep the interpreter to themselves; Python's 5 ms would hold the early part up at every step."""


class WalContent(NamedTuple):
    """What was read: modification time in ns, content, and its frames where they were compressed already."""

    modified_ns: int
    content: bytes
    packed: PackedFrames | None = None


def read_wal_file(path: str, segment_size: int) -> WalContent:
    """Return a file; ServerError when it cannot be read, VerificationError when it is longer than any WAL file."""
    try:
        return _read(path, max(segment_size, _TEXT_LIMIT_BYTES))
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise ServerError(f"cannot read {path}: {reason}", hint="run as the owner of the cluster") from error


def read_early(path: str) -> Callable[[str, int], WalContent]:
    """Begin to read and compress a file in a thread; return what gives the result, or reads it anew if that failed."""
    results: list[WalContent] = []

    def work() -> None:
        try:
            found = _read(path, _LARGEST_EARLY_BYTES)
        except (OSError, VerificationError):
            return
        frames = tuple(compress_frame(frame, _LIKELY_LEVEL) for frame in cut(found.content))
        results.append(WalContent(found.modified_ns, found.content, PackedFrames(_LIKELY_LEVEL, frames)))

    sys.setswitchinterval(_SWITCH_EVERY_S)
    thread = threading.Thread(target=work, name="wal-early", daemon=True)
    thread.start()

    def result(asked: str, segment_size: int) -> WalContent:
        if asked != path:
            return read_wal_file(asked, segment_size)
        thread.join()
        return results[0] if results else read_wal_file(asked, segment_size)

    return result


def _read(path: str, limit_bytes: int) -> WalContent:
    descriptor = os.open(path, _READ)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise VerificationError(f"{path} is not a regular file")
        if found.st_size > limit_bytes:
            raise VerificationError(
                f"{path} is {found.st_size} bytes long, longer than a segment of this cluster",
                hint="if the cluster was made anew with another segment size, run 'holdfast wal setup' again",
            )
        return WalContent(found.st_mtime_ns, _read_all(descriptor, found.st_size))
    finally:
        os.close(descriptor)


def _read_all(descriptor: int, size_bytes: int) -> bytes:
    content = os.read(descriptor, size_bytes)
    while len(content) < size_bytes and (part := os.read(descriptor, size_bytes - len(content))):
        content += part  # one read gives 2 GiB at most, or less when a signal interrupts it
    return content
