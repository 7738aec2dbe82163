"""One damaged snapshot object costs that snapshot alone: the others are listed and restored by their ids."""

from __future__ import annotations

from tests.integration.backup_restore.clusters import sql
from tests.integration.backup_restore.stack import StackDirectory
from tests.servers.postgres import postgres_binaries


def test_others_are_listed_and_restored_and_the_next_backup_runs(make_cluster, shared_directory) -> None:
    cluster = make_cluster(postgres_binaries(15))
    stack = StackDirectory(shared_directory / "stack", {"db": cluster.conninfo()})
    stack.succeed("init")
    first = stack.backup()
    sql(cluster, "CREATE TABLE later AS SELECT generate_series(1, 1000) AS i")
    second = stack.backup()
    damaged = stack.place / "snapshots" / second["id"]
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.chmod(0o600)
    damaged.write_bytes(content)
    for copy in (stack.directory / "cache").rglob(second["id"]):
        copy.unlink()

    listing = stack.run("snapshots")
    assert listing.code == 14, str(listing)
    assert [message["id"] for message in listing.messages if message["message_type"] == "snapshot"] == [first["id"]]
    assert second["id"] in listing.error["message"]

    latest = stack.run("restore", "db", "--target", shared_directory / "latest")
    assert latest.code == 14, str(latest)
    assert not (shared_directory / "latest").exists()
    stack.succeed("restore", "db", "--target", shared_directory / "first", "--snapshot", first["id"][:8])

    third = stack.succeed("backup", "db")
    assert third.message("snapshot_made")["parent"] == first["id"]
    assert any("does not open" in message.get("text", "") for message in third.messages)
