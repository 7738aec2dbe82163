"""Where each chunk lies: immutable index objects, and one sorted table in memory.

An index object lists packs (kind, name, length, BLAKE3 of all their bytes) and, in columns sorted by chunk id, the
records (chunk id, pack, offset, stored length, plain length). In memory the columns of all objects are merged into
48 bytes a chunk, without any Python object per chunk, and looked up in batches.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from holdfast.errors import DamageError
from holdfast.model import ObjectId
from holdfast.repository.pack import Frame, PackKind, PackRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

INDEX_PREFIX = "index"
RECORDS_LIMIT = 1 << 19
_COUNTS = struct.Struct("<II")
_PACK_DTYPE = np.dtype([("kind", "u1"), ("id", "V16"), ("length", "<u4"), ("digest", "V32")])
_ID_WORDS = 4
_MISSING = -1


class IndexedPack(NamedTuple):
    """What the index knows of one pack: its length in bytes and the BLAKE3 of all of them."""

    ref: PackRef
    length: int
    digest: bytes


class ChunkPlace(NamedTuple):
    """Where one chunk lies."""

    pack: IndexedPack
    frame: Frame


@dataclass(frozen=True, slots=True)
class ChunkRecords:
    """Columns of equal length: ids (n, 4) big-endian words, then pack number, offset, stored and plain length."""

    ids: np.ndarray
    pack: np.ndarray
    offset: np.ndarray
    stored: np.ndarray
    plain: np.ndarray

    def __len__(self) -> int:
        return len(self.pack)

    @staticmethod
    def empty(count: int = 0) -> ChunkRecords:
        """Return room for a number of records."""
        columns = [np.zeros(count, dtype="<u4") for _ in range(4)]
        return ChunkRecords(np.zeros((count, _ID_WORDS), dtype=">u8"), *columns)


def chunk_words(ids: Sequence[bytes] | np.ndarray) -> np.ndarray:
    """Return chunk ids as an (n, 4) array of big-endian words, whose order is the order of the bytes."""
    raw = b"".join(ids) if not isinstance(ids, np.ndarray) else np.ascontiguousarray(ids).tobytes()
    return np.frombuffer(raw, dtype=">u8").reshape(-1, _ID_WORDS)


def sort_order(ids: np.ndarray) -> np.ndarray:
    """Return the permutation that sorts ids by their bytes."""
    return np.lexsort((ids[:, 3], ids[:, 2], ids[:, 1], ids[:, 0]))


def encode_index(packs: Sequence[IndexedPack], records: ChunkRecords) -> bytes:
    """Return the content of an index object; records may come in any order."""
    order = sort_order(records.ids)
    table = np.zeros(len(packs), dtype=_PACK_DTYPE)
    for row, pack in zip(table, packs, strict=True):
        row["kind"] = pack.ref.kind.object_type
        row["id"] = np.void(bytes.fromhex(pack.ref.id))
        row["length"] = pack.length
        row["digest"] = np.void(pack.digest)
    columns = (records.ids, records.pack, records.offset, records.stored, records.plain)
    body = b"".join(column[order].tobytes() for column in columns)
    return _COUNTS.pack(len(packs), len(records)) + table.tobytes() + body


def decode_index(content: bytes, name: str) -> tuple[list[IndexedPack], ChunkRecords]:
    """Return the packs and records (views of ``content``) of an index object, or raise DamageError."""
    try:
        pack_count, count = _COUNTS.unpack_from(content)
        table = np.frombuffer(content, dtype=_PACK_DTYPE, count=pack_count, offset=_COUNTS.size)
        at = _COUNTS.size + table.nbytes
        ids = np.frombuffer(content, dtype=">u8", count=count * _ID_WORDS, offset=at).reshape(-1, _ID_WORDS)
        at += ids.nbytes
        columns = [np.frombuffer(content, dtype="<u4", count=count, offset=at + i * 4 * count) for i in range(4)]
        packs = [_decode_pack(row) for row in table]
    except (ValueError, struct.error) as error:
        raise DamageError(name, f"its records cannot be read ({error})") from error
    if at + 16 * count != len(content) or (count and int(columns[0].max()) >= pack_count):
        raise DamageError(name, "its records do not fit its length")
    return packs, ChunkRecords(ids, *columns)


def _decode_pack(row: np.void) -> IndexedPack:
    kind = PackKind.DATA if row["kind"] == PackKind.DATA.object_type else PackKind.META
    ref = PackRef(kind, ObjectId(bytes(row["id"]).hex()))
    return IndexedPack(ref, int(row["length"]), bytes(row["digest"]))


class ChunkIndex:
    """All chunks of some index objects, sorted, read-only.

    Memory: 48 bytes a chunk (a 64-bit head to search by, the rest of the id, four numbers). A chunk that several
    packs hold is found in one of them. Packs that ``is_present`` denies count for nothing.
    """

    def __init__(
        self,
        parts: Iterable[tuple[list[IndexedPack], ChunkRecords]] = (),
        is_present: Callable[[IndexedPack], bool] = lambda _: True,
    ) -> None:
        self.packs: list[IndexedPack] = []
        loaded: list[ChunkRecords] = []
        for packs, every_record in parts:
            records = _only_present(every_record, [is_present(pack) for pack in packs])
            loaded.append(_renumber(records, len(self.packs)))
            self.packs.extend(packs)
        total = sum(len(records) for records in loaded)
        self._head = np.empty(total, dtype=np.uint64)
        at = 0
        for records in loaded:
            self._head[at : at + len(records)] = records.ids[:, 0]
            at += len(records)
        order = np.argsort(self._head, kind="stable").astype(np.uint32)
        self._head = self._head[order]
        self._tail = _gather([records.ids[:, 1:] for records in loaded], order, (total, 3), ">u8")
        self.pack = _gather([records.pack for records in loaded], order, (total,), "<u4")
        self.offset = _gather([records.offset for records in loaded], order, (total,), "<u4")
        self.stored = _gather([records.stored for records in loaded], order, (total,), "<u4")
        self.plain = _gather([records.plain for records in loaded], order, (total,), "<u4")

    def __len__(self) -> int:
        return len(self._head)

    @property
    def memory_bytes(self) -> int:
        """What the columns occupy."""
        columns = (self._head, self._tail, self.pack, self.offset, self.stored, self.plain)
        return sum(column.nbytes for column in columns)

    def lookup(self, ids: np.ndarray) -> np.ndarray:
        """Return for each id of an (n, 4) word array its row here, or -1."""
        if not len(self):
            return np.full(len(ids), _MISSING, dtype=np.int64)
        head = ids[:, 0].astype(np.uint64)
        row = np.searchsorted(self._head, head)
        found = np.full(len(ids), _MISSING, dtype=np.int64)
        open_rows = np.arange(len(ids))
        while len(open_rows):  # more than one round only where two ids share their first 64 bits
            inside = row[open_rows] < len(self)
            open_rows = open_rows[inside]
            same_head = self._head[row[open_rows]] == head[open_rows]
            open_rows = open_rows[same_head]
            equal = (self._tail[row[open_rows]] == ids[open_rows, 1:]).all(axis=1)
            found[open_rows[equal]] = row[open_rows[equal]]
            open_rows = open_rows[~equal]
            row[open_rows] += 1
        return found

    def place(self, row: int) -> ChunkPlace:
        """Return the place that a row describes."""
        frame = Frame(int(self.offset[row]), int(self.stored[row]), int(self.plain[row]))
        return ChunkPlace(self.packs[int(self.pack[row])], frame)

    def ids_at(self, rows: np.ndarray | slice) -> np.ndarray:
        """Return the chunk ids of rows as (n, 4) words; a copy."""
        head = self._head[rows]
        words = np.empty((len(head), _ID_WORDS), dtype=">u8")
        words[:, 0] = head
        words[:, 1:] = self._tail[rows]
        return words

    def fingerprints_at(self, rows: np.ndarray) -> list[int]:
        """Return the fingerprint that each row's chunk id ends with."""
        fingerprints: list[int] = self._tail[rows, -1].tolist()
        return fingerprints


def _only_present(records: ChunkRecords, is_present: list[bool]) -> ChunkRecords:
    if all(is_present):
        return records
    kept = np.array(is_present)[records.pack]
    columns = (records.ids, records.pack, records.offset, records.stored, records.plain)
    return ChunkRecords(*(column[kept] for column in columns))


def _renumber(records: ChunkRecords, first_pack: int) -> ChunkRecords:
    pack = records.pack + np.uint32(first_pack)
    return ChunkRecords(records.ids, pack, records.offset, records.stored, records.plain)


def _gather(parts: list[np.ndarray], order: np.ndarray, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return one column in sorted order; only this column exists twice while it is built."""
    joined = np.concatenate(parts) if parts else np.empty(shape, dtype=dtype)
    result: np.ndarray = joined[order]
    return result
