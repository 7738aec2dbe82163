"""Page checksums over the files of real clusters, and against what PostgreSQL says of the same damage."""

import os
import subprocess

import numpy as np
import psycopg
import pytest
from tests.servers.postgres import account, postgres_binaries

from holdfast.postgres.datadir import classify
from holdfast.postgres.page import PageVerifier

BLOCK = 8192


def faults(data_directory):
    """Return {path: indexes of pages that do not match} over all files with checksums; and how many pages."""
    verifier, found, pages = PageVerifier(), {}, 0
    for root, _, names in os.walk(os.fsencode(data_directory), followlinks=True):
        for name in names:
            path = os.path.relpath(os.path.join(root, name), os.fsencode(data_directory))
            relation = classify(path).relation
            if relation is None:
                continue
            with open(os.path.join(root, name), "rb") as file:
                content = file.read()
            count = len(content) // BLOCK
            first = relation.segment * 131072
            findings = verifier.verify(content, np.arange(first, first + count, dtype=np.uint32))
            pages += count
            assert findings.unformatted.size == 0
            if findings.mismatched.size:
                found[path] = findings.mismatched.tolist()
    return found, pages


@pytest.fixture
def filled(binaries, make_cluster, shared_directory):
    """A stopped cluster with tables, indexes, a tablespace, an unlogged table, and free pages."""
    cluster = make_cluster(binaries)
    (shared_directory / "space").mkdir()
    account().take_over(shared_directory / "space")
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE elsewhere LOCATION '{shared_directory / 'space'}'")
        for name, kind, place in [("a", "", "pg_default"), ("b", "", "elsewhere"), ("c", "UNLOGGED", "elsewhere")]:
            connection.execute(f"CREATE {kind} TABLE {name} (id int PRIMARY KEY, t text) TABLESPACE {place}")
            connection.execute(
                f"INSERT INTO {name} SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 20000) i"
            )
            connection.execute(f"DELETE FROM {name} WHERE id % 3 = 0")
            connection.execute(f"VACUUM {name}")
        path = connection.execute("SELECT pg_relation_filepath('a')").fetchone()[0]
    cluster.stop()
    return cluster, path


def test_every_page_of_a_stopped_cluster_matches(filled):
    cluster, _ = filled
    found, pages = faults(cluster.data_directory)
    assert found == {}
    assert pages > 4000


def test_damage_is_found_in_the_pages_where_it_is(filled):
    cluster, path = filled
    with (cluster.data_directory / path).open("r+b") as file:
        for offset in (3 * BLOCK + 5000, 77 * BLOCK + 20, 77 * BLOCK + 8191, 100 * BLOCK + 8):
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 0x10]))
    assert faults(cluster.data_directory)[0] == {path.encode(): [3, 77, 100]}


def test_same_verdict_as_pg_checksums(make_cluster):
    cluster = make_cluster(postgres_binaries(15))
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        connection.execute("CREATE TABLE a AS SELECT repeat('x', 500) AS t FROM generate_series(1, 20000)")
        path = connection.execute("SELECT pg_relation_filepath('a')").fetchone()[0]
    cluster.stop()
    clean = _pg_checksums(cluster)
    assert clean.returncode == 0
    assert faults(cluster.data_directory) == ({}, _number(clean.stdout, "Blocks scanned"))
    with (cluster.data_directory / path).open("r+b") as file:
        for block in (0, 5, 6, 1000):
            file.seek(block * BLOCK + 4000)
            file.write(os.urandom(64))
    damaged = _pg_checksums(cluster)
    found, _ = faults(cluster.data_directory)
    assert found == {path.encode(): [0, 5, 6, 1000]}
    assert _number(damaged.stdout, "Bad checksums") == 4
    for block in found[path.encode()]:
        assert f"block {block}: calculated checksum" in damaged.stderr


def _pg_checksums(cluster):
    return subprocess.run(
        [cluster.binaries.program("pg_checksums"), "--check", cluster.data_directory],
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C"},
        cwd="/",
        **account().child_identity(),
    )


def _number(text, label):
    return int(next(line for line in text.splitlines() if line.startswith(label)).rpartition(" ")[2])
