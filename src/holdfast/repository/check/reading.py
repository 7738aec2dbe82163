"""Reading metadata chunks while damage is expected: what does not come back is noted, and the rest goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import DamageError, NotFoundError
from holdfast.repository.check.report import DamageKind
from holdfast.repository.index import chunk_words
from holdfast.repository.side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from holdfast.repository.check.chunks import ChunkVerdicts
    from holdfast.repository.check.report import Findings
    from holdfast.repository.pack import FrameCipher
    from holdfast.repository.reader import ChunkReader, Span

_GROUP = 256


class SoundReader:
    """Reads metadata chunks and notes those that do not come back, instead of ending at the first."""

    def __init__(self, reader: ChunkReader, verdicts: ChunkVerdicts, findings: Findings) -> None:
        self._reader, self._verdicts, self._findings = reader, verdicts, findings

    def read(self, ids: Sequence[bytes]) -> Iterator[tuple[bytes, bytes | int]]:
        """Yield (chunk id, plaintext or damage number) for each id, in order; a bounded group at a time."""
        for at in range(0, len(ids), _GROUP):
            group = ids[at : at + _GROUP]
            words = chunk_words(group)
            damages = self._verdicts.of(words)
            sound = words[damages < 0]
            opened = self._open(sound) if len(sound) else {}
            for chunk, damage in zip(group, damages.tolist(), strict=True):
                yield chunk, damage if damage >= 0 else opened[chunk]

    def _open(self, words: np.ndarray) -> dict[bytes, bytes | int]:
        opened: dict[bytes, bytes | int] = {}
        spans = self._reader.spans(self._reader.index.lookup(words))
        for span, fetched in zip(spans, side_by_side(self._fetch, spans), strict=True):
            opened.update(self._lost(span, fetched) if isinstance(fetched, str) else self._open_span(span, *fetched))
        return opened

    def _fetch(self, span: Span) -> tuple[FrameCipher, memoryview] | str:
        """Return what opens a span, and its bytes; or why they do not come."""
        try:
            return self._reader.fetch_with_cipher(span)
        except DamageError as error:
            return error.reason
        except NotFoundError:
            return "it was listed, and is gone"

    def _lost(self, span: Span, reason: str) -> Iterator[tuple[bytes, int]]:
        number = self._altered(span, reason, span.rows)
        for words in self._reader.index.ids_at(span.rows):
            yield words.tobytes(), number

    def _open_span(self, span: Span, cipher: FrameCipher, fetched: memoryview) -> Iterator[tuple[bytes, bytes | int]]:
        for row, chunk, frame, sealed in self._reader.sealed(span, fetched):
            try:
                yield chunk, bytes(self._reader.opener.open(cipher, frame, chunk, sealed))
            except DamageError as error:
                yield chunk, self._altered(span, error.reason, row)

    def _altered(self, span: Span, reason: str, rows: np.ndarray | int) -> int:
        number = self._findings.add_to_pack(DamageKind.PACK_ALTERED, span.pack.ref.name, reason)
        self._verdicts.mark(rows, number)
        return number
