"""What the source may be, and what may happen to it: standbys, promotions, corrupt pages, lost connections, kills."""

import signal

import pytest
from tests.chaos.test_crash_points import BACKUP, COMMITTED
from tests.integration.backup_restore.clusters import (
    ask,
    make_place,
    make_standby,
    require_free,
    require_sound,
    sql,
    start_restored,
)
from tests.integration.backup_restore.stack import At, finish, kill, wait_until
from tests.integration.backup_restore.test_round_trip import damage
from tests.integration.backup_restore.test_standby import caught_up
from tests.servers.load import Ledger, compare

from holdfast.crashpoint import CrashPoint
from holdfast.errors import ServerError, ServerUnreachableError
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.page import page_lsn

STARTED = [CrashPoint.BACKUP_STARTED, CrashPoint.SPAN_READ, CrashPoint.BACKUP_STOPPED, CrashPoint.WAL_CAPTURED]


def test_backup_of_a_standby_restores_to_a_primary(binaries, make_cluster, make_courier_stack, shared_directory):
    primary = make_cluster(binaries)
    sql(primary, "CREATE ROLE courier LOGIN REPLICATION")
    standby = make_standby(make_cluster, primary)
    stack = make_courier_stack(standby, role_is_made=True)
    with Ledger(primary.conninfo()) as ledger:
        ledger.wait_for(200)
        sql(primary, "CHECKPOINT")
        caught_up(primary, standby)
        snapshot = stack.backup()
        ledger.wait_for(50)
    assert snapshot["facts"]["is_standby"]
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target)
    assert not (target / "standby.signal").exists()
    restored = start_restored(make_cluster, primary, target)
    due = ledger.commits(until=Lsn.parse(snapshot["facts"]["stop_lsn"]))
    assert sum(len(commit.ids) for commit in due) >= 200
    assert compare(restored.conninfo(), due).is_exact
    require_sound(restored)


def test_promotion_during_the_backup_voids_it(binaries, make_cluster, make_stack, shared_directory):
    """FAULTS 10."""
    primary = make_cluster(binaries)
    standby = make_standby(make_cluster, primary)
    stack = make_stack(standby)
    promotion = At("copying files", lambda: sql(standby, "SELECT pg_promote(wait => true)"))
    with pytest.raises(ServerError, match="promoted") as caught:
        stack.back_up_here(promotion)
    assert caught.value.hint
    assert stack.snapshots() == []
    stack.check()

    # the promoted server is a source as good as any, on the second timeline
    assert stack.backup()["facts"]["timeline"] == 2
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target)
    assert (target / "pg_wal" / "00000002.history").exists()
    start_restored(make_cluster, primary, target)


def test_corrupt_page_is_named_by_the_server_and_by_us(binaries, make_cluster, make_stack, shared_directory):
    cluster = make_cluster(binaries, settings={"autovacuum": "off"})
    sql(
        cluster,
        "CREATE TABLE t AS SELECT i AS id, repeat(md5(i::text), 20) AS t FROM generate_series(1, 9000) AS i",
        "CHECKPOINT",
    )
    relation = ask(cluster, "SELECT pg_relation_filepath('t')")
    path = cluster.data_directory / relation
    damage(path, 7)
    with path.open("rb") as file:
        file.seek(7 * 8192)
        lsn = str(page_lsn(file.read(8192)))
    stack = make_stack(cluster)
    run = stack.run("backup", "db")
    assert run.code == 3, str(run)
    snapshot = run.message("snapshot_made")
    assert (snapshot["is_complete"], snapshot["is_clean"]) == (True, False)
    assert snapshot["facts"]["corrupt_pages"] == [{"path": relation, "block": 7, "lsn": lsn}]
    ours, *servers = snapshot["warnings"]
    assert ours == f"corrupt page: {relation} block 7, LSN {lsn}"
    assert servers[0].startswith(f'the server says: checksum verification failed in file "./{relation}", block 7')
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target)
    assert (target / relation).read_bytes() == path.read_bytes()

    damage(path, 7)  # flipped back
    assert stack.backup()["warnings"] == []


def test_zero_pages_and_odd_tails_are_valid(cluster, make_stack):
    with (cluster.data_directory / ask(cluster, "SELECT pg_relation_filepath('item')")).open("ab") as file:
        file.write(bytes(3 * 8192))
        file.write(b"an odd tail, as a file has that is being extended")
    assert make_stack(cluster).backup()["is_clean"]


@pytest.mark.parametrize("which", ["BASE_BACKUP", "idle"])
def test_lost_connection(cluster, make_stack, which):
    """The connection that sends the files is lost, or the one that holds the WAL: nothing is committed, all is free."""
    condition = {
        "BASE_BACKUP": "query LIKE 'BASE_BACKUP%'",
        "idle": "query NOT LIKE 'BASE_BACKUP%' AND backend_type = 'walsender'",
    }[which]
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holdfast' AND {condition}"
    stack = make_stack(cluster)
    with pytest.raises(ServerUnreachableError) as caught:
        stack.back_up_here(At("copying files", lambda: sql(cluster, end)))
    assert caught.value.hint
    assert stack.snapshots() == []
    stack.check()
    require_free(cluster)
    stack.backup()


def test_what_a_lost_backup_had_stored_is_reused(make_cluster, cluster, make_stack):
    sql(
        cluster,
        "CREATE EXTENSION pgcrypto",
        "CREATE TABLE noise AS SELECT gen_random_bytes(1000) AS b FROM generate_series(1, 80000)",
        "CHECKPOINT",
    )
    stack = make_stack(cluster, repository={"limits": {"upload": "16MiB"}})
    child = stack.start("backup", "db")
    wait_until(lambda: stack.packs() or child.poll() is not None)
    sql(cluster, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BASE_BACKUP%'")
    run = finish(child)
    assert (run.code, "receiving the base backup" in run.error["message"]) == (1, True)
    assert run.error["hint"]
    assert stack.snapshots() == []
    kept = sum(stack.packs().values())
    assert kept >= 30 << 20
    stack.repository.pop("limits", None)
    stack.write()
    stats = stack.backup()["stats"]
    assert stats["new_plain_bytes"] < stats["bytes_read"] - (25 << 20)
    stack.check()


@pytest.mark.parametrize("point", STARTED)
def test_kill(cluster, make_stack, point):
    assert {*STARTED} <= {*BACKUP} - COMMITTED
    stack = make_stack(cluster)
    run = stack.run("backup", "db", HOLDFAST_CRASH_POINT=point)
    assert run.code == -signal.SIGKILL, str(run)
    assert stack.snapshots() == []
    stack.check()
    require_free(cluster)
    stack.backup()
    stack.check()


def test_signal_ends_a_backup_in_order(cluster, make_stack):
    sql(
        cluster,
        "CREATE EXTENSION pgcrypto",
        "CREATE TABLE noise AS SELECT gen_random_bytes(1000) AS b FROM generate_series(1, 80000)",
        "CHECKPOINT",
    )
    stack = make_stack(cluster, repository={"limits": {"upload": "16MiB"}})
    child = stack.start("backup", "db")
    wait_until(lambda: stack.packs() or child.poll() is not None)
    assert kill(child, signal.SIGINT).code == 130
    require_free(cluster)
    assert stack.snapshots() == []


def test_tablespace_with_a_name_that_only_numbers_tell(cluster, make_courier_stack, shared_directory, make_cluster):
    place = make_place(shared_directory, "place")
    sql(cluster, f"CREATE TABLESPACE far LOCATION '{place}'", "CREATE TABLE t TABLESPACE far AS SELECT 1 AS one")
    stack = make_courier_stack(cluster)
    run = stack.succeed("backup", "db")
    facts = run.message("snapshot_made")["facts"]
    number = ask(cluster, "SELECT oid FROM pg_tablespace WHERE spcname = 'far'")
    assert facts["tablespaces"] == [{"oid": number, "name": str(number), "location": str(place), "is_in_place": False}]
    assert (facts["databases"], facts["data_directory"]) == ([], "")
    assert "databases" in run.stdout + run.stderr
    stack.succeed("show", "latest")
