"""The repository: the one face of this room, once it is open. Lists, and hands out readers and writers.

What only readers and writers of content need (numpy and all that stands on it) is imported by the methods that hand
them out: listing snapshots and managing keys must start quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from holdfast import clock
from holdfast.errors import (
    DamageError,
    KeyRefusedError,
    UsageError,
)
from holdfast.repository.key_slot import KeySlot
from holdfast.repository.sealed import ObjectType, open_object, require_authentic
from holdfast.repository.side_by_side import side_by_side
from holdfast.repository.slots import choose_slot, parse_slot, store_slot, stored_slots
from holdfast.repository.snapshot import SNAPSHOT_PREFIX, Snapshot, SnapshotSurvey, decode_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from holdfast.repository.cache import ObjectCache
    from holdfast.repository.config import RepositoryConfig
    from holdfast.repository.index import ChunkIndex, ChunkRecords, IndexedPack
    from holdfast.repository.keys import Keyring, Keys
    from holdfast.repository.manifest import Entry
    from holdfast.repository.pack import PackRef
    from holdfast.repository.reader import ChunkReader
    from holdfast.repository.unlock import NewSlot
    from holdfast.repository.writer import Writer, WriterOptions
    from holdfast.storage.base import Storage

_Decoded = TypeVar("_Decoded")


class Repository:
    """An open repository."""

    def __init__(self, storage: Storage, config: RepositoryConfig, keys: Keys, cache: ObjectCache) -> None:
        self.storage, self.config, self.keys = storage, config, keys
        self._cache = cache

    # -- snapshots and manifests

    def snapshots(self) -> list[Snapshot]:
        """Return every snapshot, oldest first; DamageError when one cannot be opened."""
        survey = self.survey_snapshots()
        survey.require_sound()
        return list(survey.snapshots)

    def survey_snapshots(self) -> SnapshotSurvey:
        """Return the snapshots that open, oldest first, and what is wrong with the others."""
        found, damages = self._load_sound(
            SNAPSHOT_PREFIX, lambda name, stored: decode_snapshot(self.keys, name, stored)
        )
        in_order = sorted(found, key=lambda snapshot: (snapshot.started, snapshot.id))
        return SnapshotSurvey(tuple(in_order), tuple(damages))

    def reader(self) -> ChunkReader:
        """Return a reader over what can be used of the index as it is now."""
        from holdfast.repository.reader import ChunkReader

        return ChunkReader(self.storage, self.keys, self.usable_index())

    def entries(self, reader: ChunkReader, snapshot: Snapshot) -> Iterator[Entry]:
        """Yield the entries of a snapshot by path, a bounded group of leaves at a time."""
        from holdfast.repository.manifest import load_entries, load_leaves

        leaves = load_leaves(reader.read(snapshot.manifest))
        for leaf in reader.read_many([leaf.chunk for leaf in leaves]):
            yield from load_entries(leaf)

    def usable_index(self) -> ChunkIndex:
        """Return what the index says of packs that are there with their length; damaged index objects are left out.

        So damage costs what it hit and no more: a reader finds the rest, and a writer stores again what is lost.
        """
        from holdfast.repository.pack import list_packs

        return self._index_of(dict(list_packs(self.storage)))

    def _index_of(self, lengths: Mapping[PackRef, int]) -> ChunkIndex:
        from holdfast.repository.index import INDEX_PREFIX, ChunkIndex

        parts, _ = self._load_sound(INDEX_PREFIX, self._decode_index)
        return ChunkIndex(parts, lambda pack: lengths.get(pack.ref) == pack.length)

    # -- writing

    def writer(self, stack: str, service: str, options: WriterOptions) -> tuple[Writer, ChunkIndex]:
        """Open a session and return a writer with the index it looks chunks up in; BusyError when one is at work.

        What earlier runs left behind, or a lost index object named, is indexed first: at once where a session is
        stale, else when nobody else is at work, whose unfinished packs these might be.
        """
        from holdfast.repository.pack import list_packs
        from holdfast.repository.page_cache import page_cache_name
        from holdfast.repository.salvage import salvage_packs
        from holdfast.repository.session import Session, withdraw
        from holdfast.repository.writer import Writer

        session, others = Session.open(self.storage, self.keys, stack, service)
        stale = [record for record in others if not record.is_alive(clock.now())]
        try:
            lengths = dict(list_packs(self.storage))
            index = self._index_of(lengths)
            if (stale or not others) and salvage_packs(self.storage, self.keys, index, lengths):
                index = self.usable_index()
            for record in stale:
                withdraw(self.storage, record)
            page_cache = self._cache.path(page_cache_name(stack, service))
            return Writer(self.storage, self.keys, index, session, options, page_cache=page_cache), index
        except BaseException:
            session.close()
            raise

    # -- keys

    def key_slots(self) -> list[KeySlot]:
        """Return every key slot, authenticated, oldest first."""
        slots = []
        for name, stored in stored_slots(self.storage):
            slot = parse_slot(name, stored)
            require_authentic(self.keys, name, slot, stored)
            slots.append(slot)
        return sorted(slots, key=lambda slot: (slot.created, slot.id))

    def add_key(self, secret: NewSlot, label: str) -> KeySlot:
        """Store one more slot; needs an owner's key."""
        keyring = self._require_owner()
        return store_slot(self.storage, self.keys, secret.new_slot(self.config.id, keyring, label))

    def remove_key(self, beginning: str) -> KeySlot:
        """Remove the slot whose id begins so; the last that can decrypt stays (UsageError). Needs an owner's key."""
        self._require_owner()
        slots = self.key_slots()
        slot = choose_slot(slots, beginning)
        if slot.opens_data and sum(other.opens_data for other in slots) == 1:
            raise UsageError(
                "this is the last key slot that can decrypt the backups", hint="add another one first: holdfast key add"
            )
        self.storage.delete(KeySlot.PREFIX + slot.id)
        return slot

    def _require_owner(self) -> Keyring:
        if self.keys.keyring is None:
            raise UsageError("an unencrypted repository has no keys", hint="make an encrypted one with 'holdfast init'")
        if not self.keys.can_read_data:
            raise KeyRefusedError(
                "a writer credential cannot add or remove keys", hint="use the passphrase or recovery identity"
            )
        return self.keys.keyring

    # -- immutable objects through the cache

    def _load_sound(
        self, prefix: str, decode: Callable[[str, bytes], _Decoded]
    ) -> tuple[list[_Decoded], list[DamageError]]:
        damages: list[DamageError] = []

        def fetch(name: str) -> _Decoded | None:
            try:
                return self._fetch(decode, name)
            except DamageError as error:
                damages.append(error)
                return None

        return self._gather(prefix, decode, fetch), damages

    def _gather(
        self, prefix: str, decode: Callable[[str, bytes], _Decoded], fetch: Callable[[str], _Decoded | None]
    ) -> list[_Decoded]:
        """Return what ``decode`` or ``fetch`` makes of each object; only what must be fetched is worth threads."""
        names = self._names(prefix)
        found = {name: self._cached(decode, name) for name in names}
        missing = [name for name in names if found[name] is None]
        found.update(zip(missing, side_by_side(fetch, missing), strict=True))
        return [decoded for decoded in found.values() if decoded is not None]

    def _names(self, prefix: str) -> list[str]:
        names = [info.name for info in self.storage.list(prefix)]
        self._cache.keep_only(prefix, names)
        return names

    def _cached(self, decode: Callable[[str, bytes], _Decoded], name: str) -> _Decoded | None:
        stored = self._cache.get(name)
        if stored is None:
            return None
        try:
            return decode(name, stored)
        except DamageError:
            self._cache.drop(name)
            return None

    def _fetch(self, decode: Callable[[str, bytes], _Decoded], name: str) -> _Decoded:
        stored = bytes(self.storage.get(name))
        decoded = decode(name, stored)
        self._cache.put(name, stored)
        return decoded

    def _decode_index(self, name: str, stored: bytes) -> tuple[list[IndexedPack], ChunkRecords]:
        from holdfast.repository.index import decode_index

        return decode_index(open_object(self.keys, ObjectType.INDEX, name, stored), name)
