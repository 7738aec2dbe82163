"""Finds packs that no index names and indexes them: what an interrupted run stored is not stored again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

from holdfast.errors import DamageError
from holdfast.repository.index import ChunkIndex, IndexedPack
from holdfast.repository.pack import PackRef, open_trailer, parse_header
from holdfast.repository.packer import StoredPack
from holdfast.repository.writer import store_index

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.repository.keys import Keys
    from holdfast.storage.base import Storage


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


def salvage_packs(storage: Storage, keys: Keys, index: ChunkIndex, there: Iterable[PackRef]) -> int:
    """Index those packs that the index does not name; return how many.

    ``there``: what was in the storage before the index was read, or a pack whose index came between would look lost.
    Damaged ones are left for 'holdfast check' to report.
    """
    known = {pack.ref for pack in index.packs}
    found: list[StoredPack] = []
    for ref in there:
        if ref not in known:
            try:
                found.append(read_pack_table(storage, keys, ref))
            except DamageError:
                continue
    if found:
        store_index(storage, keys, found)
    return len(found)
