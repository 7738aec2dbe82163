"""WAL through S3, as a server sees it: ``archive_command``, the resident process, and a recovery from the bucket."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress

from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.backup_restore.stack import wait_until
from tests.integration.wal_push.archiving import Archiving, require_schema
from tests.servers.postgres import account, postgres_binaries

from holdfast.postgres.local import LocalCluster
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
