"""Checks the small objects one by one, straight from the storage: a cached copy proves nothing about the repository."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from holdfast.errors import DamageError, NotFoundError
from holdfast.repository.check.report import DamageKind
from holdfast.repository.config import CONFIG_NAME, parse_config
from holdfast.repository.index import INDEX_PREFIX, decode_index
from holdfast.repository.journal import JOURNAL_PREFIX, JournalEntry, decode_entry
from holdfast.repository.key_slot import KeySlot
from holdfast.repository.pack import parse_pack_name
from holdfast.repository.sealed import ObjectType, open_object, require_authentic
from holdfast.repository.session import read_sessions
from holdfast.repository.side_by_side import side_by_side
from holdfast.repository.slots import parse_slot
from holdfast.repository.snapshot import SNAPSHOT_PREFIX, Snapshot, decode_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.repository.check.report import Findings
    from holdfast.repository.index import ChunkRecords, IndexedPack
    from holdfast.repository.keys import Keys
    from holdfast.storage.base import Storage

_Decoded = TypeVar("_Decoded")


@dataclass(frozen=True)
class SoundObjects:
    """The objects that opened; ``pack_lengths`` is the one listing of packs, by name."""

    slots: list[KeySlot]
    parts: list[tuple[list[IndexedPack], ChunkRecords]]
    snapshots: list[Snapshot]
    pack_lengths: dict[str, int]
    foreign: list[str]


class ObjectChecker:
    """Opens every small object of a repository, and notes those that do not."""

    def __init__(self, storage: Storage, keys: Keys, findings: Findings) -> None:
        self._storage, self._keys, self._findings = storage, keys, findings
        self._foreign: list[str] = []

    def check(self) -> SoundObjects:
        """Check all; DamageError when the config is not authentic, for then nothing else can be judged."""
        stored = self._storage.get(CONFIG_NAME)
        require_authentic(self._keys, CONFIG_NAME, parse_config(bytes(stored)), stored)
        slots = self._open_all(KeySlot.PREFIX.rstrip("/"), DamageKind.KEY_SLOT, self._slot)
        self._check_slots(slots)
        self._check_sessions()
        self._open_all(JOURNAL_PREFIX, DamageKind.JOURNAL, self._journal_entry)
        parts = self._open_all(INDEX_PREFIX, DamageKind.INDEX, self._index_part)
        snapshots = self._open_all(SNAPSHOT_PREFIX, DamageKind.SNAPSHOT, self._snapshot)
        return SoundObjects(slots, parts, snapshots, self._list_packs(), self._foreign)

    def _open_all(self, prefix: str, kind: DamageKind, decode: Callable[[str, bytes], _Decoded]) -> list[_Decoded]:
        def open_one(name: str) -> _Decoded | DamageError:
            try:
                return decode(name, bytes(self._storage.get(name)))
            except NotFoundError:
                return DamageError(name, "it was listed, and is gone")
            except DamageError as error:
                return error

        names = [info.name for info in self._storage.list(prefix)]
        opened = side_by_side(open_one, names)
        for name, result in zip(names, opened, strict=True):
            if isinstance(result, DamageError):
                self._findings.add(kind, name, result.reason)
        return [result for result in opened if not isinstance(result, DamageError)]

    def _slot(self, name: str, stored: bytes) -> KeySlot:
        slot = parse_slot(name, stored)
        require_authentic(self._keys, name, slot, stored)
        return slot

    def _check_slots(self, slots: list[KeySlot]) -> None:
        if self._keys.is_encrypted and not any(slot.opens_data for slot in slots):
            self._findings.add(DamageKind.KEY_SLOT, KeySlot.PREFIX, "no sound key slot decrypts the backups")

    def _check_sessions(self) -> None:
        try:
            for _ in read_sessions(self._storage, self._keys):
                pass
        except DamageError as error:
            self._findings.add(DamageKind.SESSION, error.object_name, error.reason)

    def _journal_entry(self, name: str, stored: bytes) -> JournalEntry:
        return decode_entry(self._keys, name, stored)

    def _index_part(self, name: str, stored: bytes) -> tuple[list[IndexedPack], ChunkRecords]:
        return decode_index(open_object(self._keys, ObjectType.INDEX, name, stored), name)

    def _snapshot(self, name: str, stored: bytes) -> Snapshot:
        snapshot = decode_snapshot(self._keys, name, stored)
        if snapshot.is_encrypted != self._keys.is_encrypted:
            raise DamageError(name, "it says of itself another mode of encryption than the repository has")
        return snapshot

    def _list_packs(self) -> dict[str, int]:
        """Return the length of every pack by name. An error of the listing is fatal: it must not read as empty."""
        lengths: dict[str, int] = {}
        for info in self._storage.list("packs"):
            if parse_pack_name(info.name):
                lengths[info.name] = info.size_bytes
            else:
                self._foreign.append(info.name)
        return lengths
