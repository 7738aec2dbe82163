"""Tablespaces that come and go while files come: recovery would make them at a place that is in use.

The role may ask no catalog: what the WAL says is all there is.
"""

import pytest
from tests.integration.backup_restore.clusters import (
    ask,
    make_place,
    make_standby,
    require_free,
    require_sound,
    sql,
    start_restored,
)
from tests.integration.backup_restore.stack import At, wait_until
from tests.integration.backup_restore.test_standby import caught_up
from tests.integration.replication.test_round_trip import Meanwhile
from tests.servers.postgres import postgres_binaries

from holdfast.errors import ServerError


class Changes(Meanwhile):
    """Does one thing while files come, and another when they have."""

    def __init__(self, act, afterwards):
        super().__init__(act)
        self._afterwards = afterwards

    def phase(self, name, *, total_bytes=None):
        super().phase(name, total_bytes=total_bytes)
        if name == "copying WAL":
            self._afterwards()


@pytest.fixture
def make_space(shared_directory):
    """Give the statements that make a tablespace with a table."""

    def make(name):
        place = make_place(shared_directory, name)
        return f"CREATE TABLESPACE {name} LOCATION '{place}'", f"CREATE TABLE {name} (i int) TABLESPACE {name}"

    return make


@pytest.mark.parametrize("major", [15, 18])
def test_tablespace_made_while_files_come_voids_the_backup(major, make_cluster, make_courier_stack, make_space):
    cluster = make_cluster(postgres_binaries(major), settings={"autovacuum": "off"})
    stack = make_courier_stack(cluster)
    statements = make_space("late")
    with pytest.raises(ServerError, match=r"tablespace [0-9]+ was made in /.*late during the backup") as caught:
        stack.back_up_here(At("copying files", lambda: sql(cluster, *statements)))
    assert caught.value.hint == "run the backup again"
    assert stack.snapshots() == []
    require_free(cluster)
    (found,) = stack.backup()["facts"]["tablespaces"]
    assert found["location"].endswith("late")


def test_tablespace_made_in_the_data_directory_voids_the_backup_too(make_cluster, make_courier_stack):
    cluster = make_cluster(postgres_binaries(17), settings={"allow_in_place_tablespaces": "on"})
    stack = make_courier_stack(cluster)
    with pytest.raises(ServerError, match=r"tablespace [0-9]+ was made in the data directory during the backup"):
        stack.back_up_here(At("copying files", lambda: sql(cluster, "CREATE TABLESPACE inside LOCATION ''")))
    assert stack.snapshots() == []


def test_tablespace_that_the_primary_made_voids_the_backup_of_its_standby(make_cluster, make_courier_stack, make_space):
    primary = make_cluster(postgres_binaries(15), settings={"autovacuum": "off"})
    standby = make_standby(make_cluster, primary)
    sql(primary, "CREATE ROLE courier LOGIN REPLICATION", "CHECKPOINT")
    stack = make_courier_stack(standby, role_is_made=True)
    made = make_space("late")[0]

    def interfere():
        sql(primary, made)
        caught_up(primary, standby)

    with pytest.raises(ServerError, match=r"was made in /.*late during the backup"):
        stack.back_up_here(At("copying files", interfere))
    assert stack.snapshots() == []


def test_tablespace_dropped_while_files_come_and_one_made_after_the_end_do_no_harm(
    make_cluster, make_courier_stack, make_space, shared_directory
):
    cluster = make_cluster(postgres_binaries(15), settings={"autovacuum": "off"})
    stack = make_courier_stack(cluster)
    sql(cluster, *make_space("doomed"), *make_space("kept"))
    make_late = make_space("late")
    drop = ("DROP TABLE doomed", "DROP TABLESPACE doomed")
    with Changes(lambda: sql(cluster, *drop), lambda: sql(cluster, *make_late)) as changes:
        snapshot = stack.back_up_here(changes)
    assert (changes.was_in_time, snapshot.is_complete) == (True, True)
    assert ask(cluster, "SELECT count(*) FROM pg_tablespace WHERE spcname IN ('doomed', 'late')") == 1
    assert len(snapshot.facts["tablespaces"]) == 2
    cluster.stop()
    places = {each["name"]: shared_directory / f"moved-{each['oid']}" for each in snapshot.facts["tablespaces"]}
    moved = [f"--tablespace={name}={place}" for name, place in places.items()]
    stack.succeed("restore", "db", "--target", shared_directory / "restored", *moved)
    restored = start_restored(make_cluster, cluster, shared_directory / "restored")
    wait_until(lambda: not ask(restored, "SELECT pg_is_in_recovery()"))
    names = "SELECT array_agg(spcname::text ORDER BY oid) FROM pg_tablespace WHERE oid > 16383"
    assert ask(restored, names) == ["kept"]
    require_sound(restored)
