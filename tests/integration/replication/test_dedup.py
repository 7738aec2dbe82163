"""The same cluster by either method: the second backup stores almost nothing, whichever comes first."""

import os
from functools import lru_cache
from pathlib import Path

import pytest
from tests.integration.backup_restore.clusters import make_place, sql
from tests.servers.postgres import account, postgres_binaries, temporary_clusters

from holdfast.repository.file_extents import load_extents
from holdfast.repository.manifest import EntryKind

ALMOST_NOTHING = 0.002


@pytest.fixture(scope="module")
def cluster():
    """100 MB of files of every size and class, most of which do not compress, at rest."""
    with temporary_clusters() as factory:
        yield furnished(factory)


def furnished(factory):
    cluster = factory(postgres_binaries(17), settings={"autovacuum": "off", "max_wal_size": "2GB"})
    place = make_place(factory.directory, "place")
    sql(
        cluster,
        "CREATE EXTENSION pgcrypto",
        f"CREATE TABLESPACE elsewhere LOCATION '{place}'",
        "CREATE TABLE noise AS SELECT i AS id, gen_random_bytes(900) AS b FROM generate_series(1, 30000) AS i",
        "CREATE TABLE far TABLESPACE elsewhere AS SELECT gen_random_bytes(900) AS b FROM generate_series(1, 9000)",
        "DO $$ BEGIN FOR i IN 1..150 LOOP EXECUTE format('CREATE TABLE small_%s AS SELECT gen_random_bytes(900) AS b "
        "FROM generate_series(1, %s)', i, i); END LOOP; END $$",
        "CREATE DATABASE other",
        "VACUUM FREEZE",
        "CHECKPOINT",
    )
    large = cluster.data_directory / "large.txt"
    large.write_bytes(b"".join(b"%d lines of a log\n" % number for number in range(2_000_000)))
    account().take_over(large)
    return cluster


@pytest.mark.parametrize("methods", [("data_directory", "replication"), ("replication", "data_directory")])
def test_the_other_method_right_after_stores_almost_nothing(cluster, make_stack, methods):
    stack = make_stack(cluster)
    snapshots = []
    for method in methods:
        stack.service["method"] = method
        stack.write()
        snapshots.append(stack.backup())
    first, second = (each["stats"] for each in snapshots)
    print(methods, first["stored_bytes"], second["stored_bytes"], second["new_plain_bytes"])
    assert second["files_read"] > 1000
    assert second["bytes_read"] > 100 << 20
    assert second["stored_bytes"] < ALMOST_NOTHING * first["stored_bytes"]

    # but for what only one of them sees, the trees are the same, extent for extent
    ours, theirs = ({p: e for p, e in stack.entries(s["id"]).items() if _is_compared(p)} for s in snapshots)
    assert ours.keys() == theirs.keys()
    assert [path for path in ours if _content(ours[path]) != _content(theirs[path])] == []
    assert [path for path in ours if _rights(ours[path]) != _rights(theirs[path])] == []
    assert sum(entry.kind is EntryKind.SYMLINK for entry in ours.values()) == 1


def test_the_same_method_twice_stores_nothing_twice(cluster, make_stack):
    stack = make_stack(cluster)
    first, second = (stack.backup()["stats"] for _ in range(2))
    print(first["stored_bytes"], second["stored_bytes"], second["new_plain_bytes"])
    assert second["stored_bytes"] < ALMOST_NOTHING * first["stored_bytes"]


def test_pages_that_changed_are_all_that_is_stored_by_whichever_method(cluster, make_stack):
    stack = make_stack(cluster)
    snapshots = []
    for number, method in enumerate(["replication", "replication", "data_directory", "replication"]):
        sql(cluster, f"UPDATE noise SET b = gen_random_bytes(900) WHERE id % 400 = {number}", "CHECKPOINT")
        stack.service["method"] = method
        stack.write()
        snapshots.append(stack.backup())
        assert _relation_files_are_as_on_disk(stack, snapshots[-1], cluster.data_directory) > 300
    first, *later = snapshots
    assert first["facts"]["changed_page_count"] is None
    for snapshot in later:
        changed = snapshot["facts"]["changed_page_count"]
        print(changed, snapshot["stats"]["stored_bytes"])
        assert 75 <= changed < 300
        # a page moves with each that changed, at most: what is left of chunks that are hardly needed any more
        assert snapshot["stats"]["stored_bytes"] < changed * 8192 * 2 + 300_000
        assert "public.noise" in [each["relation"] for each in snapshot["facts"]["changed_pages"]]


@pytest.mark.parametrize("wrong", ["of another service", "damaged"])
def test_fault_28_a_cache_that_is_wrong_costs_time_alone(cluster, make_stack, wrong):
    stack = make_stack(cluster, cluster)
    caches = []
    for service in ("db", "db2"):
        stack.backup(service)
        present = Path(stack.environment["XDG_CACHE_HOME"]).rglob("pages/*")
        caches += [path for path in present if path.is_file() and path not in caches]
    ours, theirs = caches
    content = bytearray(theirs.read_bytes() if wrong == "of another service" else ours.read_bytes())
    if wrong == "damaged":
        for at in range(100, len(content), 5000):
            content[at] ^= 0x40
    ours.write_bytes(content)
    sql(cluster, "UPDATE noise SET b = gen_random_bytes(900) WHERE id % 400 = 9", "CHECKPOINT")
    snapshot = stack.backup("db")
    assert _relation_files_are_as_on_disk(stack, snapshot, cluster.data_directory) > 300
    assert snapshot["is_clean"]


def _relation_files_are_as_on_disk(stack, snapshot, root):
    """Compare the content of every relation file, of a server that is at rest; return how many there were."""
    reader = stack.open().reader()
    read = lru_cache(64)(reader.read)
    compared = 0
    for path, entry in stack.entries(snapshot["id"]).items():
        if entry.kind is not EntryKind.FILE or not path.startswith(b"base/") or not path[-1:].isdigit():
            continue
        content = bytearray(entry.size)
        for offset, length, start, chunk in load_extents(entry, read).tolist():
            content[offset : offset + length] = read(chunk)[start : start + length]
        assert content == (root / os.fsdecode(path)).read_bytes(), path
        compared += 1
    return compared


def _is_compared(path):
    """Leave out what every backup has of its own, and what only a reader of the server's files can see."""
    if path.startswith(b"holdfast-configuration"):
        return False
    return not path.startswith(b"pg_wal/0") and path not in {b"backup_label", b"global/pg_control", b"tablespace_map"}


def _content(entry):
    return entry.kind, entry.size, entry.link, entry.extents, entry.extent_chunks


def _rights(entry):
    return entry.mode, entry.uid, entry.gid, entry.user, entry.group
