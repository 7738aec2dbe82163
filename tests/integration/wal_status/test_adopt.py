"""A restored cluster takes over its origin's archive: on purpose, on a timeline of its own, and not before."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest
from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.backup_restore.stack import wait_until
from tests.integration.wal_status.archiving import (
    make_archiving_stack,
    make_origin,
    outbox,
    push,
    require_schema,
    write_segments,
)
from tests.servers.postgres import account, postgres_binaries

from holdfast.crashpoint import CrashPoint
from holdfast.postgres.local import LocalCluster

MARKER = "holdfast-restore.json"


@pytest.fixture
def origin(make_cluster):
    return make_origin(make_cluster, postgres_binaries(15))


@pytest.fixture
def stack(origin, shared_directory):
    stack = make_archiving_stack(shared_directory, origin)
    stack.backup()
    write_segments(origin, 1, 2, 3)
    push(stack, outbox(origin))
    return stack


class Restored:
    """The cluster of a stack, restored beside its origin; from ``take_over`` on the stack file means this one."""

    def __init__(self, stack, origin, factory, directory) -> None:
        self.stack, self.directory = stack, directory / "restored"
        stack.succeed("restore", "db", "--target", self.directory)
        self._factory, self._origin = factory, origin

    def start(self, signal: str | None = None, **settings: str) -> LocalCluster:
        if signal is not None:
            (self.directory / signal).touch()
            account().take_over(self.directory / signal)
            settings = {"restore_command": f"cp {self._origin.data_directory}/outbox/wal/%f %p", **settings}
        cluster = LocalCluster(self._origin.binaries, self.directory, account=account(), settings=settings)
        self._factory.adopt(cluster)
        self.stack.connections = {"db": cluster.conninfo()}
        self.stack.write()
        return cluster

    def marker(self) -> dict[str, object]:
        return json.loads((self.directory / MARKER).read_text())

    def is_marked(self, name: str, mark: str) -> bool:
        return (self.directory / "pg_wal" / "archive_status" / f"{name}.{mark}").exists()

    def refused(self, code: int) -> dict[str, object]:
        before = (self.directory / MARKER).read_bytes() if (self.directory / MARKER).exists() else None
        run = self.stack.run("wal", "adopt", "db")
        assert run.code == code, str(run)
        assert run.error["hint"]
        if before is not None:
            assert (self.directory / MARKER).read_bytes() == before
        return run.error


@pytest.fixture
def restored(stack, origin, make_cluster, shared_directory):
    return Restored(stack, origin, make_cluster, shared_directory)


def promote(cluster: LocalCluster) -> None:
    sql(cluster, "SELECT pg_promote()")
    wait_until(lambda: not ask(cluster, "SELECT pg_is_in_recovery()"))


def test_fault_37_a_promoted_cluster_is_adopted_once_and_may_push_then(restored, origin):
    cluster = restored.start("standby.signal")
    assert "is in recovery" in restored.refused(2)["message"]
    promote(cluster)
    origin.stop()
    restored.stack.succeed("wal", "setup", "db")
    sql(cluster, "INSERT INTO entry VALUES (100)", "SELECT pg_switch_wal()")
    segment = restored.directory / "pg_wal" / ask(cluster, "SELECT pg_walfile_name(pg_current_wal_lsn() - 1)")
    history = restored.directory / "pg_wal" / "00000002.history"
    run = restored.stack.run("wal", "push", "db", segment)
    assert run.code == 1
    assert "wal adopt" in run.error["hint"]

    leftover = segment.with_name("00000001" + segment.name[8:])
    leftover.write_bytes(bytes(segment.stat().st_size))
    account().take_over(leftover)
    message = restored.stack.succeed("wal", "adopt", "db").message("wal_adopted")
    require_schema(message)
    assert (message["timeline"], message["is_new"]) == (2, True)
    assert message["statements"] == [
        "ALTER SYSTEM RESET archive_mode",
        "ALTER SYSTEM RESET max_logical_replication_workers",
    ]
    assert restored.marker()["adopted"] == message["adopted"]
    assert restored.is_marked("00000002.history", "ready")  # promoted without archiving, it would never be archived
    assert restored.is_marked(leftover.name, "done")  # offered when it is recycled, it would be refused for ever
    restored.stack.succeed("wal", "push", "db", history)
    restored.stack.succeed("wal", "push", "db", segment)

    again = restored.stack.succeed("wal", "adopt", "db", "--apply").message("wal_adopted")
    assert (again["is_new"], again["adopted"]) == (False, message["adopted"])
    assert again["statements_are_applied"]
    cluster.restart()
    assert ask(cluster, "SHOW archive_mode") == "always"
    assert restored.stack.succeed("wal", "adopt", "db").message("wal_adopted")["statements"] == []
    status = restored.stack.run("wal", "status", "db").message("wal_status")
    assert [window["timeline"] for window in status["windows"]] == [1, 2]


def test_fault_04_a_cluster_on_its_origins_timeline_is_refused(restored, origin):
    cluster = restored.start()
    sql(cluster, "INSERT INTO entry VALUES (50)", "SELECT pg_switch_wal()")
    assert ask(cluster, "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)") == "00000001"
    error = restored.refused(1)
    assert "another life" in error["message"]
    assert "--to latest" in error["hint"]


def test_fault_04_a_timeline_that_another_promotion_took_is_refused(restored, origin, shared_directory):
    cluster = restored.start("standby.signal")
    promote(cluster)
    sql(cluster, "SELECT pg_switch_wal()")
    taken = "000000020000000000000001"
    content = bytearray((restored.directory / "pg_wal" / "00000002.history").read_bytes())
    foreign = shared_directory / "00000002.history"
    foreign.write_bytes(content.replace(b"no recovery target specified", b"another promotion") + b"\n")
    push(restored.stack, [foreign])
    error = restored.refused(1)
    assert "00000002.history" in error["message"]
    assert taken not in error["message"]


def test_what_is_already_there_from_this_very_cluster_is_no_hindrance(restored, shared_directory):
    cluster = restored.start("standby.signal")
    promote(cluster)
    sql(cluster, "INSERT INTO entry VALUES (9)", "SELECT pg_switch_wal()")
    names = ["00000002.history", ask(cluster, "SELECT pg_walfile_name(pg_current_wal_lsn() - 1)")]
    for name in names:  # salvaged copies: where they lie says nothing of whose they are
        (shared_directory / name).write_bytes((restored.directory / "pg_wal" / name).read_bytes())
    push(restored.stack, [shared_directory / name for name in names])
    assert restored.stack.succeed("wal", "adopt", "db").message("wal_adopted")["is_new"]


def test_an_unfinished_restore_and_a_cluster_that_was_not_restored_are_refused(restored, stack, origin):
    restored.start("standby.signal")
    marker = restored.marker()
    (restored.directory / MARKER).write_text(json.dumps({**marker, "finished": ""}))
    assert "not finished" in restored.refused(2)["message"]
    (restored.directory / MARKER).unlink()
    assert "was not restored by holdfast" in restored.refused(2)["message"]
    stack.connections = {"db": "host=/nonexistent user=postgres"}
    stack.write()
    assert stack.run("wal", "adopt", "db").code == 1


def test_a_directory_in_which_another_server_runs_is_not_adopted(restored):
    """A copy of the restored cluster has its system identifier, its history and its marker."""
    promote(restored.start("standby.signal"))
    copy = restored.directory.with_name("copy")
    subprocess.run(["cp", "-a", restored.directory, copy], check=True)
    restored.stack.service = {**restored.stack.service, "data_directory": str(copy)}
    restored.stack.write()
    assert f"{copy} is not the data directory of the server that answers" in restored.refused(1)["message"]
    assert json.loads((copy / MARKER).read_text())["adopted"] == ""


def test_a_kill_leaves_the_cluster_adopted_or_not_and_the_next_call_finishes(restored):
    cluster = restored.start("standby.signal")
    promote(cluster)
    for point, is_adopted in ((CrashPoint.ADOPT_PROVEN, False), (CrashPoint.ADOPT_MARKED, True)):
        run = restored.stack.run("wal", "adopt", "db", HOLDFAST_CRASH_POINT=point)
        assert run.code == -signal.SIGKILL, str(run)
        assert bool(restored.marker()["adopted"]) == is_adopted
    message = restored.stack.succeed("wal", "adopt", "db").message("wal_adopted")
    assert message["adopted"] == restored.marker()["adopted"]
