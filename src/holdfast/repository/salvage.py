"""Finds packs that no index names and indexes them: what an interrupted run stored is not stored again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

from holdfast.errors import DamageError
from holdfast.model import OBJECT_ID, ObjectId
from holdfast.repository.index import ChunkIndex, IndexedPack
from holdfast.repository.pack import PackKind, PackRef, open_trailer, parse_header
from holdfast.repository.packer import StoredPack
from holdfast.repository.writer import store_index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.repository.keys import Keys
    from holdfast.storage.base import Storage


def list_packs(storage: Storage) -> Iterator[tuple[PackRef, int]]:
    """Yield every pack in the storage with its length in bytes; names of another shape are passed over."""
    for kind in PackKind:
        for info in storage.list(f"packs/{kind}"):
            pack_id = info.name.rpartition("/")[2]
            ref = PackRef(kind, ObjectId(pack_id))
            if OBJECT_ID.fullmatch(pack_id) and ref.name == info.name:
                yield ref, info.size_bytes


def read_pack_table(storage: Storage, keys: Keys, ref: PackRef) -> StoredPack:
    """Return what an index would say of a pack, from the pack alone; no private key is needed.

    DamageError when any byte of it is not what was stored: a damaged pack must not pass for a source of its chunks.
    """
    stored = memoryview(storage.get(ref.name))
    trailer = open_trailer(keys, ref, parse_header(ref, stored), stored)
    digest = blake3(stored[: trailer.start])
    if digest.digest() != trailer.digest:
        raise DamageError(ref.name, "its frames are not those that were stored")
    return StoredPack(IndexedPack(ref, len(stored), digest.update(stored[trailer.start :]).digest()), trailer.table)


def salvage_packs(storage: Storage, keys: Keys, index: ChunkIndex) -> int:
    """Index the packs that no index names; return how many. Damaged ones are left for 'holdfast check' to report."""
    known = {pack.ref for pack in index.packs}
    found: list[StoredPack] = []
    for ref, _ in list_packs(storage):
        if ref not in known:
            try:
                found.append(read_pack_table(storage, keys, ref))
            except DamageError:
                continue
    if found:
        store_index(storage, keys, found)
    return len(found)
