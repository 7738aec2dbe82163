"""WAL through S3: ``archive_command``, the resident process, a recovery from the bucket, and a receiver in trouble."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import closing, suppress

from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.backup_restore.stack import StackDirectory, wait_until
from tests.integration.wal_push.archiving import Archiving, require_schema
from tests.integration.wal_receive.receiving import Receiving, flushed, wait_until_stored
from tests.integration.wal_receive.test_receive import FILL
from tests.servers.postgres import account, postgres_binaries

from holdfast import clock
from holdfast.errors import ExitCode
from holdfast.postgres.local import LocalCluster, StopMode
from holdfast.postgres.lsn import Lsn
from holdfast.wal.restore_command import SPOOL_NAME

SETTINGS = {
    "archive_mode": "on",
    "archive_command": "false",
    "autovacuum": "off",
    "min_wal_size": "8MB",
    "max_wal_size": "64MB",
}


def give_away(shop: Archiving) -> None:
    """Let the servers' account own stack file and secrets: its restore_command reads them."""
    for root, directories, names in os.walk(shop.directory / "stack"):
        for entry in (root, *(os.path.join(root, each) for each in directories + names)):
            os.chown(entry, account().uid, account().gid)
    os.chown(shop.directory / "secret", account().uid, account().gid)


def end_supplier(directory) -> None:
    """End who supplies there, by its own id."""
    with suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int((directory / "pg_wal" / SPOOL_NAME / "pid").read_text()), signal.SIGTERM)
    wait_until(lambda: not (directory / "pg_wal" / SPOOL_NAME).exists())


def test_wal_goes_to_s3_and_a_recovery_comes_back_from_it(make_cluster, bucket_section, shared_directory):
    cluster = make_cluster(postgres_binaries(15), "origin", wal_segment_size_bytes=1 << 20, settings=SETTINGS)
    base = shared_directory / "copy"
    cluster.stop()
    subprocess.run(["cp", "-a", cluster.data_directory, base], check=True)
    cluster.start()
    shop = Archiving(cluster, shared_directory, remote=bucket_section)
    shop.set_up()
    shop.wait_archived(shop.write(3))  # by archive_command alone, each call on its own
    with shop.serving() as process:
        shop.wait_archived(shop.write(5))
        shop.wait_shipping(process)
        names = shop.write(1)
        wait_until(lambda: shop.is_acknowledged(names[0]) or names[0] in shop.status(".done"))
    again = shop.push(shop.salvaged(names[0]))
    assert (again.returncode, again.stdout) == (0, ""), again.stderr
    sql(cluster, "INSERT INTO item VALUES (-1, 'last')")
    shop.wait_archived([ask(cluster, "SELECT pg_walfile_name(pg_switch_wal())")])
    rows = ask(cluster, "SELECT count(*) FROM item")

    status = require_schema(shop.stack.succeed("wal", "status", "db").message("wal_status"))
    assert status["gaps"] == []
    give_away(shop)
    command = shop.stack.succeed("wal", "setup", "db").message("wal_set_up")["settings"]["restore_command"]
    cluster.stop()
    (base / "recovery.signal").touch()
    account().take_over(base / "recovery.signal")
    settings = {"archive_mode": "off", "restore_command": command}
    with LocalCluster(postgres_binaries(15), base, account=account(), settings=settings) as recovered:
        try:
            wait_until(lambda: not ask(recovered, "SELECT pg_is_in_recovery()"))
            assert ask(recovered, "SELECT count(*) FROM item") == rows
            assert ask(recovered, "SELECT name FROM item WHERE id = -1") == "last"
        finally:
            end_supplier(base)


def test_a_status_says_within_seconds_that_the_repository_hangs(make_cluster, gateway, bucket_section, tmp_path):
    """Of two services in that repository it asks for one only."""
    cluster = make_cluster(postgres_binaries(15), settings={"autovacuum": "off"})
    servers = {"db": cluster.conninfo(), "other": cluster.conninfo()}
    own = {"wal": {"spool": str(tmp_path / "spool")}}
    repository = {**bucket_section, "retry_deadline": "10m"}
    stack = StackDirectory(tmp_path / "stack", servers, repository=repository, service=own)
    stack.succeed("init")
    with gateway.hanging():
        began = clock.monotonic()
        run = stack.run("wal", "status")
        assert clock.monotonic() - began < 25
    assert run.code == ExitCode.PARTIAL
    assert [message["service"] for message in run.messages] == ["db", "other"]
    for message in run.messages:
        require_schema(message)
        assert message["server"]["timeline"] == 1
        assert "no answer" in message["repository_error"]
        assert [alert["kind"] for alert in message["alerts"]] == ["repository"]
    gateway.stop()
    glance = stack.run("status")
    assert glance.code == ExitCode.PARTIAL
    for message in glance.messages:
        require_schema(message)
        assert (message["server_is_up"], message["snapshots"]) == (True, None)


def test_what_was_received_is_stored_when_the_server_is_lost(make_cluster, gateway, bucket_section, tmp_path):
    """The server may not have it any more, or not come back: only the receiver has it then."""
    cluster = make_cluster(postgres_binaries(15), settings={"autovacuum": "off"})
    remote = {**bucket_section, "retry_deadline": "1m"}
    spool = tmp_path / "spool"
    stack = StackDirectory(
        tmp_path / "stack", {"db": cluster.conninfo()}, repository=remote, service={"wal": {"spool": str(spool)}}
    )
    stack.succeed("init")
    with closing(Receiving(stack, spool)) as receiving:
        child = receiving.start_streaming("--create-slot")
        wait_until_stored(receiving, cluster)
        gateway.stop()
        for _ in range(2):  # the first is under way to the repository when the second comes in
            sql(cluster, FILL.format(1))
            wait_until(lambda: ask(cluster, "SELECT sent_lsn >= pg_current_wal_flush_lsn() FROM pg_stat_replication"))
        position = flushed(cluster)
        assert stored(receiving) < position
        cluster.stop(StopMode.IMMEDIATE)
        gateway.start()
        wait_until(lambda: stored(receiving) >= position)
        run = receiving.stop(child)
        assert run.code == 0, str(run)


def stored(receiving: Receiving) -> Lsn:
    """How far WAL is in the repository, as the receiver says."""
    return Lsn.parse(receiving.state.stored_lsn or "0/0")
