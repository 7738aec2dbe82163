"""By the replication protocol: what was committed before the backup's end is there after the restore, to the byte."""

import os
import threading

from tests.integration.backup_restore.clusters import (
    ask,
    make_place,
    relation_files,
    require_clean_pages,
    require_free,
    require_page_checksums,
    require_sound,
    sql,
    start_restored,
)
from tests.integration.backup_restore.test_round_trip import ODD_NAME, furnish, require_furnished
from tests.servers.load import Ledger

from holdfast.progress import Silence


class Meanwhile(Silence):
    """A Reporter that lets something happen while files come, and slows them down until it has.

    They may not stand still: DROP DATABASE waits for every process of the server, and the one that sends us files
    waits for us.
    """

    def __init__(self, act):
        self._thread = threading.Thread(target=self._act, args=(act,))
        self._is_done = threading.Event()
        self._files_come = False
        self.was_in_time = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._thread.join(60)
        assert self._is_done.is_set()

    def phase(self, name, *, total_bytes=None):
        self._files_come = name == "copying files"
        if self._files_come:
            self._thread.start()

    def advance(self, done_bytes):
        if self._files_come:
            self.was_in_time = self._is_done.wait(0.3)

    def _act(self, act):
        act()
        self._is_done.set()


def test_round_trip_under_load_with_the_replication_privilege_alone(
    binaries, make_cluster, make_courier_stack, shared_directory
):
    cluster = make_cluster(binaries)
    furnish(cluster, make_place(shared_directory, "größe"))
    stack = make_courier_stack(cluster)

    def interfere():
        sql(cluster, "DROP DATABASE doomed", "CREATE DATABASE newborn", "CREATE TABLE late AS SELECT 1 AS one")
        sql(cluster, "CREATE TABLE cradle AS SELECT generate_series(1, 100) AS nr", dbname="newborn")
        ledger.wait_for(200)

    with Ledger(cluster.conninfo()) as ledger:
        ledger.wait_for(300)
        with Meanwhile(interfere) as meanwhile:
            snapshot = stack.back_up_here(meanwhile)
        ledger.wait_for(100)
    assert meanwhile.was_in_time
    assert (snapshot.is_complete, snapshot.is_clean, snapshot.warnings) == (True, True, ())
    number = ask(cluster, "SELECT oid FROM pg_tablespace WHERE spcname = 'größer'")
    assert {(each["name"], each["is_in_place"]) for each in snapshot.facts["tablespaces"]} == {
        (str(number), False),
        (str(ask(cluster, "SELECT oid FROM pg_tablespace WHERE spcname = 'inside'")), True),
    }
    require_free(cluster)
    cluster.stop()

    place = shared_directory / "moved"
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target, "--tablespace", f"{number}={place}")
    assert (target / os.fsdecode(ODD_NAME)).read_bytes() == b"not a name in UTF-8"
    restored = start_restored(make_cluster, cluster, target)

    require_furnished(restored, ledger, snapshot)
    assert ask(restored, "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'größer'") == str(place)
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
    facts = stack.backup()["facts"]
    assert {each["name"] for each in facts["tablespaces"]} == {"größer", "inside"}
    assert set(facts["databases"]) == {"postgres", "template0", "template1", "Geschäft №1", "doomed"}
    assert (facts["data_directory"], facts["encoding"]) == (str(cluster.data_directory), "UTF8")
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
