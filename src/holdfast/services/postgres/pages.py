"""Page checksums, verified while the files are read: torn pages are told from corrupt ones by reading again.

A page that does not match is read again: if it matches then, or its bytes have changed, it was being written, and WAL
replay writes it anew (full-page writes are forced during a backup). The same wrong bytes twice mean corruption.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from holdfast import clock
from holdfast.postgres.datadir import RelationFile, classify
from holdfast.postgres.page import PageVerifier, page_lsn
from holdfast.services.postgres.facts import CorruptPage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from holdfast.repository.sources import FileSource, Piece

_REREAD_AFTER_S = 0.1
_REREADS = 3


@dataclass(frozen=True, slots=True)
class PageShape:
    """Page size in bytes, and pages in each segment file of a relation."""

    block_size: int
    relation_segment_blocks: int


class PageInspector:
    """Verifies relation pages as they pass (an Inspector); ``corrupt`` collects what is wrong."""

    def __init__(self, shape: PageShape) -> None:
        self._shape = shape
        self._local = threading.local()
        self._lock = threading.Lock()
        self.corrupt: list[CorruptPage] = []

    def inspect(self, buffer: memoryview, pieces: Sequence[Piece]) -> None:
        """Verify the checksummed pages among the pieces."""
        runs = [(piece, relation) for piece in pieces if (relation := self._checksummed(piece.source))]
        if not runs:
            return
        size = self._shape.block_size
        if len(runs) == len(pieces) and all(piece.length % size == 0 for piece in pieces):
            blocks = np.concatenate([self._blocks(_offsets(piece, size), relation) for piece, relation in runs])
            self._verify(buffer, blocks, [piece for piece, _ in runs])
        else:
            for piece, relation in runs:
                part = buffer[piece.buffer_offset : piece.buffer_offset + piece.length // size * size]
                self._verify(part, self._blocks(_offsets(piece, size), relation), [piece])

    def inspect_pages(self, buffer: memoryview, source: FileSource, offsets: np.ndarray) -> NDArray[np.intp]:
        """Verify pages of one file, from ``offsets`` of it; return the numbers of those that did not match at first.

        Those that were being written are among them: what was read of them is nobody's true page. A page that is cut
        off by the end of ``buffer`` is not looked at.
        """
        relation = self._checksummed(source)
        if relation is None:
            return np.zeros(0, dtype=np.intp)
        whole = len(buffer) // self._shape.block_size
        blocks = self._blocks(offsets[:whole], relation)
        unsound = self._mismatched(buffer, blocks)
        self._judge([self._suspect(source, int(offsets[at]), int(blocks[at]), buffer, at) for at in unsound.tolist()])
        return unsound

    @staticmethod
    def _checksummed(source: FileSource) -> RelationFile | None:
        role = classify(source.entry.path)
        return role.relation if role.has_page_checksums else None

    def _blocks(self, offsets: np.ndarray, relation: RelationFile) -> NDArray[np.uint32]:
        first = relation.segment * self._shape.relation_segment_blocks
        return (first + offsets // self._shape.block_size).astype(np.uint32)

    def _verify(self, pages: memoryview, blocks: NDArray[np.uint32], pieces: Sequence[Piece]) -> None:
        size = self._shape.block_size
        suspects = []
        for at in self._mismatched(pages, blocks).tolist():
            piece, offset = _piece_at(pieces, at * size)
            suspects.append(self._suspect(piece.source, offset, int(blocks[at]), pages, at))
        self._judge(suspects)

    def _mismatched(self, pages: memoryview, blocks: NDArray[np.uint32]) -> NDArray[np.intp]:
        """Return the numbers of the pages that are not valid."""
        if not hasattr(self._local, "verifier"):
            self._local.verifier = PageVerifier(block_size=self._shape.block_size)
        findings = self._local.verifier.verify(pages, blocks)
        return np.concatenate((findings.mismatched, findings.unformatted))

    def _suspect(self, source: FileSource, offset: int, block: int, pages: memoryview, at: int) -> Suspect:
        size = self._shape.block_size
        return Suspect(source, offset, block, bytes(pages[at * size : (at + 1) * size]))

    def _judge(self, suspects: list[Suspect]) -> None:
        corrupt = [suspect.finding() for suspect in self.confirmed(suspects)]
        if corrupt:
            with self._lock:
                self.corrupt.extend(corrupt)

    def confirmed(self, suspects: list[Suspect]) -> list[Suspect]:
        """Return those whose wrong bytes stay the same; all of a span wait together, as a whole file may be corrupt."""
        for _ in range(_REREADS):
            if suspects:
                clock.sleep(_REREAD_AFTER_S)
                suspects = [suspect for suspect in suspects if self._is_still_wrong(suspect)]
        return suspects

    def _is_still_wrong(self, suspect: Suspect) -> bool:
        try:
            again = _read_page(suspect.source.path, suspect.offset, len(suspect.page))
        except OSError:  # the disk gave it once, wrong, and does not any more
            return True
        blocks = np.array([suspect.block], dtype=np.uint32)
        return again == suspect.page and not self._local.verifier.verify(again, blocks).is_clean


@dataclass(frozen=True, slots=True)
class Suspect:
    """A page that did not match: where it was read from, which block it is, and what was read."""

    source: FileSource
    offset: int
    block: int
    page: bytes

    def finding(self) -> CorruptPage:
        return CorruptPage(os.fsdecode(self.source.entry.path), self.block, str(page_lsn(self.page)))


def _offsets(piece: Piece, size: int) -> np.ndarray:
    """Return where in its file each whole page of a piece begins."""
    return piece.file_offset + np.arange(piece.length // size) * size


def _piece_at(pieces: Sequence[Piece], offset: int) -> tuple[Piece, int]:
    """Return the piece that holds an offset counted over all pieces, and the offset in its file."""
    for piece in pieces:
        if offset < piece.length:
            return piece, piece.file_offset + offset
        offset -= piece.length
    raise IndexError(offset)


def _read_page(path: bytes, offset: int, length: int) -> bytes:
    """Return the page as it is now; shorter or empty when the file was cut or is gone, which is no corruption.

    OSError where the disk does not give it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)
