"""Backups that are cut short: the server is free, the repository clean, the next run works."""

import os
import signal

import pytest
from tests.integration.backup_restore.clusters import ask, make_place, require_free, sql
from tests.integration.backup_restore.stack import At, finish, kill, wait_until
from tests.servers.postgres import postgres_binaries, temporary_clusters

from holdfast.errors import ServerError, VerificationError
from holdfast.postgres.server import Server


@pytest.fixture(scope="module")
def cluster():
    """A cluster that does not compress: its backup takes several packs."""

    with temporary_clusters() as factory:
        cluster = factory(postgres_binaries(15), settings={"autovacuum": "off", "max_wal_size": "1GB"})
        sql(
            cluster,
            "CREATE EXTENSION pgcrypto",
            "CREATE TABLE noise AS SELECT string_agg(gen_random_bytes(1000), '') AS b "
            "FROM generate_series(1, 80000) AS i GROUP BY i % 13000",
            "ALTER TABLE noise ALTER b SET STORAGE external",
            "CHECKPOINT",
        )
        yield cluster


@pytest.fixture
def stack(cluster, make_stack):
    """A repository that takes 8 MiB/s, so that there is time to interfere: five seconds and more."""
    return make_stack(cluster, repository={"limits": {"upload": "8MiB"}})


def slow_backup(stack):
    """Start a backup and return once its first pack is stored."""
    child = stack.start("backup", "db")
    wait_until(lambda: stack.packs() or child.poll() is not None)
    assert child.poll() is None, finish(child)
    return child


def require_recovered(stack, cluster):
    """The server is free, there is no snapshot, the repository is clean; the next run succeeds and reuses."""
    require_free(cluster)
    assert stack.snapshots() == []
    stack.check()
    stack.repository.pop("limits", None)
    stack.write()
    kept = sum(stack.packs().values())
    snapshot = stack.backup()
    assert kept >= 30 << 20
    assert snapshot["stats"]["stored_bytes"] < sum(stack.packs().values()) - kept + (1 << 20)
    assert snapshot["stats"]["new_plain_bytes"] < snapshot["stats"]["bytes_read"] - (25 << 20)
    stack.check()
    sessions = stack.place / "sessions"
    assert not any(sessions.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_a_backup_in_order(stack, cluster, number):
    run = kill(slow_backup(stack), number)
    assert run.code == 130, str(run)
    assert "run the same command again" in run.error["hint"]
    require_recovered(stack, cluster)


def test_lost_connection(stack, cluster):
    child = slow_backup(stack)
    sql(cluster, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holdfast'")
    run = finish(child)
    assert run.code == 1, str(run)
    assert run.error["hint"]
    require_recovered(stack, cluster)


def test_server_that_is_stopped(stack, cluster):
    child = slow_backup(stack)
    cluster.stop()
    run = finish(child)
    cluster.start()
    assert (run.code, run.error["error"].startswith("Server")) == (1, True), str(run)
    assert run.error["hint"]
    require_recovered(stack, cluster)


def test_repository_that_vanishes(stack, cluster):
    child = slow_backup(stack)
    stack.place.rename(stack.directory / "elsewhere")
    run = finish(child)
    assert run.code == 1, str(run)
    assert run.error["hint"]
    assert not stack.place.exists()
    (stack.directory / "elsewhere").rename(stack.place)
    require_free(cluster)
    stack.check()
    stack.repository.pop("limits")
    stack.write()
    stack.backup()
    stack.check()


def test_repository_that_may_not_be_written_any_more(stack, cluster):
    child = slow_backup(stack)
    packs = stack.place / "packs"
    if os.geteuid() == 0:  # whom no mode stops
        packs.rename(stack.directory / "packs")
        packs.write_text("in the way")
    else:
        packs.chmod(0o500)
    run = finish(child)
    assert run.code == 1, str(run)
    if os.geteuid() == 0:
        packs.unlink()
        (stack.directory / "packs").rename(packs)
    else:
        packs.chmod(0o700)
    require_free(cluster)
    stack.check()


def test_repository_that_is_full(stack, cluster):
    """On a file system of 48 MiB, in a mount namespace of the child's own, which is looked into afterwards."""
    stack.repository.pop("limits")
    stack.write()
    script = (
        'mount -t tmpfs -o size=48m none "$0" && cp -a "$0.first"/. "$0" && "$@"; code=$?; '
        'rm -r "$0.first"; cp -a "$0" "$0.first"; exit $code'
    )
    stack.place.rename(f"{stack.place}.first")
    stack.place.mkdir()
    run = stack.run_with_mounts(script, [stack.place], "backup", "db")
    assert (run.code, run.error["error"]) == (1, "NoSpaceError"), str(run)
    assert "free some space" in run.error["hint"]
    stack.place.rmdir()
    (stack.directory / "repository.first").rename(stack.place)
    require_recovered(stack, cluster)


def test_full_or_read_only_repository_is_told_before_anything_is_read(cluster, make_stack):
    stack = make_stack(cluster)
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    run = stack.run_with_mounts(script, [stack.place], "backup", "db")
    assert (run.code, run.error["error"]) == (1, "PermissionRefusedError"), str(run)
    assert "read-only" in run.error["hint"]
    require_free(cluster)


def finished_segment(cluster):
    """Write WAL, end the segment in which the backup began, and return its path."""
    name = ask(cluster, "SELECT pg_walfile_name(pg_current_wal_lsn())")
    sql(cluster, "SELECT pg_logical_emit_message(false, 'x', repeat('x', 100000))", "SELECT pg_switch_wal()")
    return cluster.data_directory / "pg_wal" / name


def test_fault_09_wal_that_is_gone_before_it_was_captured_means_no_snapshot(cluster, make_stack):
    stack = make_stack(cluster)
    taken = cluster.data_directory.parent / "taken"
    segments = []

    def take():
        segments.append(finished_segment(cluster))
        segments[0].rename(taken)

    with pytest.raises(ServerError, match="gone from pg_wal") as caught:
        stack.back_up_here(At("copying files", take))
    assert "would not be restorable" in caught.value.hint
    taken.rename(segments[0])
    assert stack.snapshots() == []
    require_free(cluster)
    stack.check()
    assert stack.backup()["is_complete"]


@pytest.mark.parametrize(
    ("offset", "words"),
    [(24, "does not hold the WAL that its name says"), (8192 * 3 + 8, "lacks the WAL at offset 24576")],
)
def test_wal_of_something_else_means_no_snapshot(cluster, make_stack, offset, words):
    stack = make_stack(cluster)
    kept = []

    def falsify():
        path = finished_segment(cluster)
        kept.extend([path, path.read_bytes()])
        with path.open("r+b") as file:
            file.seek(offset)  # the system identifier in the first page's header, the address in the fourth one's
            file.write(b"otherone")

    with pytest.raises(VerificationError, match=words) as caught:
        stack.back_up_here(At("copying files", falsify))
    assert caught.value.hint
    with kept[0].open("r+b") as file:
        file.write(kept[1])
    assert stack.snapshots() == []
    stack.back_up_here(
        At("copying files", lambda: finished_segment(cluster))
    )  # a switch of segments alone does no harm


def test_second_backup_of_a_service_waits_its_turn(stack, cluster, make_stack):
    child = slow_backup(stack)
    child.send_signal(signal.SIGSTOP)  # else it might be done before the second one has begun
    try:
        run = stack.run("backup", "db")
    finally:
        child.send_signal(signal.SIGCONT)
        first = finish(child)
    assert (run.code, run.error["error"], first.code) == (11, "BusyError", 0), str(run)
    assert str(child.pid) in run.error["message"]
    stack.repository.pop("limits")
    stack.write()
    stack.backup()


def test_killed_backup_is_not_in_the_way(stack, cluster):
    assert kill(slow_backup(stack)).code == -signal.SIGKILL
    require_recovered(stack, cluster)


def test_two_services_share_a_repository_at_once(cluster, quiet_cluster, make_stack):
    stack = make_stack(cluster, quiet_cluster)
    children = [stack.start("backup", "db"), stack.start("backup", "db2")]
    assert [finish(child).code for child in children] == [0, 0]
    assert sorted(each["service"] for each in stack.snapshots()) == ["db", "db2"]
    stack.check()


def test_tablespace_made_during_the_backup_voids_it(make_cluster, make_stack, shared_directory):
    cluster = make_cluster(postgres_binaries(15))
    stack = make_stack(cluster)
    place = make_place(shared_directory, "place")
    with pytest.raises(ServerError, match="tablespace late was made during the backup"):
        stack.back_up_here(At("copying files", lambda: sql(cluster, f"CREATE TABLESPACE late LOCATION '{place}'")))
    assert stack.snapshots() == []
    stack.backup()


def test_tablespace_made_during_the_checkpoint_at_the_start_voids_the_backup(
    make_cluster, make_stack, shared_directory, monkeypatch
):
    """It is there when tablespaces are listed, but its record comes after the redo point: recovery makes it again."""
    cluster = make_cluster(postgres_binaries(15))
    stack = make_stack(cluster)
    place = make_place(shared_directory, "place")
    start = Server.start_backup

    def start_beside_another_session(server, *arguments, **options):
        lsn = start(server, *arguments, **options)
        sql(cluster, f"CREATE TABLESPACE early LOCATION '{place}'")
        return lsn

    with monkeypatch.context() as patch:
        patch.setattr(Server, "start_backup", start_beside_another_session)
        with pytest.raises(ServerError, match="tablespace early was made during the backup"):
            stack.back_up_here(At("", lambda: None))
    assert stack.snapshots() == []
    stack.backup()
