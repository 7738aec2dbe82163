"""What a WAL file must look like before it is stored or handed over: of this cluster, whole, and what its name says.

The archive is append-only, so a wrong file under a right name would stand in the way of the right one for ever. Pure
Python: numpy would cost a cold ``wal push`` more than all of this.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from holdfast.errors import VerificationError
from holdfast.postgres.segment import is_backup_name, is_history_name, parse_segment_name
from holdfast.postgres.timeline import Timeline, parse_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.postgres.segment import Segment
    from holdfast.repository.walframes import Content

# XLogLongPageHeaderData (src/include/access/xlog_internal.h): magic, flags, timeline, page address, remaining length,
# system identifier, segment size, block size.
_LONG_HEADER = struct.Struct("<HHIQI4xQII")
_HAS_LONG_HEADER = 0x0002
_ADDRESS_WORD = 1
"""Every page's header has the page's address at byte 8 (``xlp_pageaddr``), so it is the second word of eight bytes."""
_WORD_BYTES = 8
_BLOCK_SIZES = frozenset(2**power for power in range(10, 17))
_PARTIAL = ".partial"
_TEXT_LIMIT_BYTES = 1 << 20
_BACKUP_START = re.compile(rb"START WAL LOCATION: [0-9A-F]{1,8}/[0-9A-F]{1,8} \(file ([0-9A-F]{24})\)")

_HINT_DISK = "look at the disk and the file system of pg_wal; the file was not stored"
_HINT_FOREIGN = "archive each cluster by its own service: run 'holdfast wal setup' where this one belongs"


class CheckedContent:
    """A content whose frames raise VerificationError, at the last one at the latest, when they are not what they must.

    For segments: length, long page header, system identifier (decimal), segment size in bytes, and the address of every
    page. For ``.partial`` segments: the same up to the first page that was not written. History files and backup
    history files carry no identifier; they must be readable as what they are.
    """

    def __init__(self, name: str, content: Content, system_identifier: str, segment_size: int) -> None:
        """``name`` says which file it must be; ``segment_size`` in bytes."""
        self._name, self._content = name, content
        self._system_identifier, self._segment_size = system_identifier, segment_size
        self.packed = content.packed

    @property
    def length_bytes(self) -> int:
        """How long it is."""
        return self._content.length_bytes

    def frames(self) -> Iterator[memoryview]:
        """Yield the content."""
        name, length_bytes = self._name, self._content.length_bytes
        if is_history_name(name):
            return _text_frames(name, self._content, _require_history)
        if is_backup_name(name):
            return _text_frames(name, self._content, _require_backup_history)
        segment = parse_segment_name(name.removesuffix(_PARTIAL), self._segment_size)
        _require_length(name, length_bytes, segment)
        return _segment_frames(name, self._content.frames(), segment, self._system_identifier)


def _text_frames(name: str, content: Content, require: Callable[[str, bytes], None]) -> Iterator[memoryview]:
    if content.length_bytes > _TEXT_LIMIT_BYTES:
        raise VerificationError(f"{name} is {content.length_bytes} bytes long, which no such file is", hint=_HINT_DISK)
    frame = next(content.frames(), memoryview(b""))
    require(name, bytes(frame))
    if frame:
        yield frame


def _segment_frames(
    name: str, frames: Iterator[memoryview], segment: Segment, system_identifier: str
) -> Iterator[memoryview]:
    """Yield frames whose pages are those of the segment.

    What follows a switch to the next segment is zeros up to the end (since 11, ``CopyXLogRecordToWAL`` in xlog.c).
    """
    at, block_size, wrong = int(segment.start), 0, None  # the end of the very last segment is no LSN any more
    for frame in frames:
        if not block_size:
            block_size = _require_header(name, frame, segment, system_identifier)
        said: list[int] = frame.cast("Q")[_ADDRESS_WORD :: block_size // _WORD_BYTES].tolist()
        expected = list(range(at, at + len(frame), block_size))
        if wrong is None and said != expected:
            first = next(page for page, (one, other) in enumerate(zip(said, expected, strict=True)) if one != other)
            wrong, said = at + first * block_size - int(segment.start), said[first:]
        if wrong is not None and any(said) and not (name.endswith(_PARTIAL) and wrong > 0):
            raise VerificationError(
                f"{name} does not hold the WAL that its name says, from byte {wrong} on", hint=_HINT_DISK
            )
        at += len(frame)
        yield frame


def _require_length(name: str, length_bytes: int, segment: Segment) -> None:
    if length_bytes != segment.size_bytes:
        raise VerificationError(
            f"{name} is {length_bytes} bytes long instead of {segment.size_bytes}: truncated, or of another cluster",
            hint=_HINT_DISK,
        )


def _require_header(name: str, frame: memoryview, segment: Segment, system_identifier: str) -> int:
    """Return the size of a WAL page."""
    _, flags, timeline, address, _, identifier, size_bytes, block_size = _LONG_HEADER.unpack_from(frame)
    if not flags & _HAS_LONG_HEADER or size_bytes != segment.size_bytes or block_size not in _BLOCK_SIZES:
        raise VerificationError(f"{name} is not a WAL segment", hint=_HINT_DISK)
    if str(identifier) != system_identifier:
        raise VerificationError(
            f"{name} is of another cluster: its system identifier is {identifier}, not {system_identifier}",
            hint=_HINT_FOREIGN,
        )
    # The first segment of a timeline begins with pages of its parent, so the page's timeline may be a lower one.
    if address != segment.start or not 0 < timeline <= segment.timeline:
        raise VerificationError(f"{name} does not hold the WAL that its name says, from byte 0 on", hint=_HINT_DISK)
    return int(block_size)


def _require_history(name: str, text: bytes) -> None:
    timeline = Timeline.parse_hex(name[:8])
    try:
        history = parse_history(timeline, text.decode())
    except UnicodeDecodeError:
        raise VerificationError(f"{name} is not a history file", hint=_HINT_DISK) from None
    if len(history.entries) < 2:
        raise VerificationError(f"{name} names no ancestor: it was cut off while it was written", hint=_HINT_DISK)


def _require_backup_history(name: str, text: bytes) -> None:
    match = _BACKUP_START.match(text)
    if match is None or match[1].decode() != name[:24]:
        raise VerificationError(f"{name} is not the history file of a backup that began there", hint=_HINT_DISK)
