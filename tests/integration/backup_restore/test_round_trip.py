"""Round trips: what was committed before the backup's end is there after the restore, to the row and to the byte."""

import os

import psycopg
import pytest
from tests.integration.backup_restore.clusters import (
    ask,
    make_place,
    relation_files,
    require_clean_pages,
    require_page_checksums,
    require_sound,
    sql,
    start_restored,
)
from tests.integration.backup_restore.stack import At
from tests.servers.load import Ledger, compare
from tests.servers.postgres import account

from holdfast.postgres.lsn import Lsn

ODD_NAME = b"notiz \xff\xfe.txt"


def furnish(cluster, elsewhere):
    """Give a cluster something of everything."""
    sql(
        cluster,
        f"CREATE TABLESPACE \"größer\" LOCATION '{elsewhere}'",
        "SET allow_in_place_tablespaces = on",
        "CREATE TABLESPACE inside LOCATION ''",
    )
    sql(
        cluster,
        'CREATE TABLE far (id int PRIMARY KEY, t text) TABLESPACE "größer"',
        "CREATE TABLE near (id int PRIMARY KEY, t text) TABLESPACE inside",
        "CREATE TABLE nothing ()",
        "CREATE UNLOGGED TABLE fleeting (id serial PRIMARY KEY, t text)",
        'CREATE UNLOGGED TABLE fleeting_far (t text) TABLESPACE "größer"',
        "INSERT INTO far SELECT i, repeat(md5(i::text), 9) FROM generate_series(1, 5000) AS i",
        "INSERT INTO near SELECT i, repeat(md5(i::text), 9) FROM generate_series(1, 5000) AS i",
        "INSERT INTO fleeting (t) SELECT md5(i::text) FROM generate_series(1, 500) AS i",
        "INSERT INTO fleeting_far SELECT md5(i::text) FROM generate_series(1, 500) AS i",
        "SELECT lo_from_bytea(4711, decode(repeat('c0ffee', 100000), 'hex'))",
        'CREATE DATABASE "Geschäft №1"',
        "CREATE DATABASE doomed",
    )
    sql(cluster, "CREATE TABLE täglich AS SELECT generate_series(1, 1000) AS nr", dbname="Geschäft №1")
    sql(cluster, "CREATE TABLE lost AS SELECT generate_series(1, 50000) AS nr", dbname="doomed")
    odd = os.path.join(os.fsencode(cluster.data_directory), ODD_NAME)
    with open(odd, "wb") as file:
        file.write(b"not a name in UTF-8")
    os.chown(odd, account().uid, account().gid)


def require_furnished(restored, ledger, snapshot):
    """Every row of a furnished cluster must be there, and all that was committed before the end of its backup."""
    due = ledger.commits(until=Lsn.parse(snapshot.facts["stop_lsn"]))
    assert sum(len(commit.ids) for commit in due) >= 500
    found = compare(restored.conninfo(), due)
    assert found.is_exact, (found.missing[:9], found.wrong[:9])
    databases = ask(restored, "SELECT array_agg(datname ORDER BY oid) FROM pg_database WHERE NOT datistemplate")
    assert databases == ["postgres", "Geschäft №1", "newborn"]
    for table, dbname, rows in [
        ("far", "postgres", 5000),
        ("near", "postgres", 5000),
        ("nothing", "postgres", 0),
        ("fleeting", "postgres", 0),
        ("fleeting_far", "postgres", 0),
        ("late", "postgres", 1),
        ("täglich", "Geschäft №1", 1000),
        ("cradle", "newborn", 100),
    ]:
        assert ask(restored, f"SELECT count(*) FROM {table}", dbname) == rows, table
    sql(restored, "INSERT INTO fleeting (t) VALUES ('again')", "INSERT INTO fleeting_far VALUES ('again')")


def test_round_trip_under_load(binaries, make_cluster, make_stack, shared_directory):
    cluster = make_cluster(binaries)
    furnish(cluster, make_place(shared_directory, "größe"))
    stack = make_stack(cluster)

    def interfere():
        sql(cluster, "DROP DATABASE doomed", "CREATE DATABASE newborn", "CREATE TABLE late AS SELECT 1 AS one")
        sql(cluster, "CREATE TABLE cradle AS SELECT generate_series(1, 100) AS nr", dbname="newborn")
        ledger.wait_for(200)

    with Ledger(cluster.conninfo()) as ledger:
        ledger.wait_for(300)
        interference = At("copying files", interfere)
        snapshot = stack.back_up_here(interference)
        ledger.wait_for(100)
    assert interference.has_acted
    assert (snapshot.is_complete, snapshot.is_clean, snapshot.warnings) == (True, True, ())
    cluster.stop()

    place = shared_directory / "moved"
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target, "--tablespace", f"größer={place}")
    assert (target / os.fsdecode(ODD_NAME)).read_bytes() == b"not a name in UTF-8"
    restored = start_restored(make_cluster, cluster, target)

    require_furnished(restored, ledger, snapshot)
    assert ask(restored, "SELECT md5(lo_get(4711)) = md5(decode(repeat('c0ffee', 100000), 'hex'))")
    assert ask(restored, "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'größer'") == str(place)
    assert ask(restored, "SELECT bool_and(t = repeat(md5(id::text), 9)) FROM (TABLE far UNION ALL TABLE near) AS x")
    require_sound(restored)
    require_clean_pages(restored)
    stack.check()


def test_every_relation_file_of_a_quiet_cluster_is_byte_identical(binaries, make_cluster, make_stack, shared_directory):
    cluster = make_cluster(binaries, settings={"autovacuum": "off"})
    furnish(cluster, make_place(shared_directory, "größe"))
    for dbname in ("postgres", "Geschäft №1", "doomed"):
        sql(cluster, "VACUUM FREEZE", dbname=dbname)
    sql(cluster, "CHECKPOINT")
    stack = make_stack(cluster)
    stack.backup()
    cluster.stop()
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target, "--tablespace", f"größer={shared_directory / 'moved'}")

    expected = relation_files(cluster.data_directory)
    unlogged = {path.removesuffix(b"_init") for path in expected if path.endswith(b"_init")}
    assert len(unlogged) >= 3
    expected = {p: c for p, c in expected.items() if p.endswith(b"_init") or _main_fork(p) not in unlogged}
    found = relation_files(target)
    assert found.keys() == expected.keys()
    assert [path for path in expected if found[path] != expected[path]] == []
    assert sum(path.startswith(b"pg_tblspc/") for path in expected) >= 4
    assert b"" in expected.values()
    require_page_checksums(target)


def _main_fork(path):
    directory, _, name = path.rpartition(b"/")
    return directory + b"/" + name.partition(b"_")[0]


@pytest.mark.slow
def test_table_of_several_segments(make_cluster, make_stack, shared_directory):
    from tests.servers.postgres import postgres_binaries

    cluster = make_cluster(postgres_binaries(15), settings={"autovacuum": "off", "max_wal_size": "4GB"})
    sql(
        cluster,
        "CREATE TABLE large AS SELECT i AS id, repeat(md5(i::text), 50) AS t FROM generate_series(1, 750000) AS i",
        "CREATE INDEX ON large (id)",
        "VACUUM large",
        "CHECKPOINT",
    )
    relation = ask(cluster, "SELECT pg_relation_filepath('large')")
    second = cluster.data_directory / f"{relation}.1"
    assert second.stat().st_size > 8192 * 20
    stack = make_stack(cluster)
    first = stack.backup()
    damage(second, 17)
    second_run = stack.run("backup", "db")
    assert second_run.code == 3
    snapshot = second_run.message("snapshot_made")
    assert [(page["path"], page["block"]) for page in snapshot["facts"]["corrupt_pages"]] == [
        (f"{relation}.1", 131072 + 17)
    ]
    cluster.stop()
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target, "--snapshot", first["id"])
    require_page_checksums(target)
    restored = start_restored(make_cluster, cluster, target)
    with psycopg.connect(restored.conninfo()) as connection:
        query = "SELECT count(*), sum(id), bool_and(t = repeat(md5(id::text), 50)) FROM large"
        assert connection.execute(query).fetchone() == (750000, 750000 * 750001 // 2, True)
    require_sound(restored)


def damage(path, block):
    """Flip one bit in a page's middle."""
    with path.open("r+b") as file:
        file.seek(block * 8192 + 5000)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0x10]))
