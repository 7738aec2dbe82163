"""What snapshots cost: each chunk counts once, however often it is used."""

from __future__ import annotations

import os

from tests.unit.repository.building import back_up, make_repository, write_tree

from holdfast.repository.usage import measure_usage
from holdfast.storage.memory import MemoryStorage

MIB = 1 << 20


def measured(tmp_path, *services: str):
    """Back the same tree up once for each service named; sizes are as the tree has them."""
    import msgspec

    repository = make_repository(MemoryStorage())
    groups: dict[str, list] = {}
    for service in services:
        snapshot = back_up(repository, tmp_path, service)
        size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
        stats = msgspec.structs.replace(snapshot.stats, size_bytes=size)
        groups.setdefault(service, []).append(msgspec.structs.replace(snapshot, stats=stats))
    return repository, *measure_usage(repository.reader(), groups)


def test_what_is_stored_once_counts_once(tmp_path):
    write_tree(tmp_path, {"random": os.urandom(8 * MIB), "small": b"x" * 100})
    _, _, one = measured(tmp_path, "db")
    repository, by_service, total = measured(tmp_path, "db", "db", "db")
    assert list(by_service) == ["db"]
    assert by_service["db"] == total
    assert total.snapshots == 3
    assert total.logical_bytes == 3 * one.logical_bytes == 3 * (8 * MIB + 100)
    assert 8 * MIB < total.unique_bytes < 8.2 * MIB
    assert 2.9 < total.dedup_ratio <= 3
    assert 0.99 < total.compression_ratio < 1.02, "random bytes do not shrink"
    assert total.chunks <= len(repository.reader().index)


def test_what_services_share_counts_for_each_and_once_in_total(tmp_path):
    write_tree(tmp_path, {"random": os.urandom(4 * MIB)})
    _, by_service, total = measured(tmp_path, "db", "other")
    assert by_service["db"].unique_bytes == by_service["other"].unique_bytes == total.unique_bytes
    assert total.logical_bytes == 8 * MIB


def test_everything_in_the_index_is_referred_to_by_the_only_snapshot(tmp_path):
    write_tree(tmp_path, {f"dir/{n}": os.urandom(3 * MIB) for n in range(4)} | {f"{n}": b"%d" % n for n in range(500)})
    repository, _, total = measured(tmp_path, "db")
    index = repository.reader().index
    assert total.chunks == len(index)
    assert total.stored_bytes == int(index.stored.sum())
    assert total.unique_bytes == int(index.plain.sum())


def test_an_empty_repository_costs_nothing():
    repository = make_repository(MemoryStorage())
    by_service, total = measure_usage(repository.reader(), {})
    assert by_service == {}
    assert (total.snapshots, total.stored_bytes, total.dedup_ratio) == (0, 0, 1.0)
