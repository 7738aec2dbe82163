"""``holdfast show`` tells everything of a snapshot, in words and exact."""

from __future__ import annotations

import pytest
from tests.integration.backup_restore.clusters import ask as ask_server
from tests.integration.backup_restore.clusters import sql
from tests.integration.backup_restore.stack import StackDirectory
from tests.servers.postgres import postgres_binaries, temporary_clusters

from holdfast.postgres.lsn import Lsn


def test_the_latest_is_shown_in_words(shop, ask):
    shown = ask("show").out
    facts = shop.second["facts"]
    for words in (
        shop.second["id"], "db (postgres) of stack shop", "complete", "encrypted",
        facts["start_lsn"], facts["stop_lsn"],
        facts["system_identifier"], facts["wal_segments"][0], "fast (oid", "page checksums    on", "after", "total ",
        shop.first["id"], "corrupt pages     none found",
    ):  # fmt: skip
        assert words in shown
    assert "warnings" not in shown


def test_a_snapshot_is_named_by_its_first_digits(shop, ask):
    shown = ask("show", shop.first["id"][:6], "--json").message("snapshot")
    assert {**shown, "message_type": "snapshot_made"} == shop.first
    assert shown["facts"]["tablespaces"][0]["name"] == "fast"
    assert Lsn.parse(shown["facts"]["start_lsn"]) < Lsn.parse(shown["facts"]["stop_lsn"])
    assert set(shown["stats"]["seconds"]) >= {"start", "files", "stop", "wal", "total"}


def test_the_latest_of_a_service_without_snapshots_is_refused(shop, call):
    refused = call(shop.stack, "show", "--service", "other", "--json")
    assert refused.code == 2
    assert "no snapshot" in refused.error["message"]


@pytest.fixture
def damaged_stack(call, tmp_path):
    """A stack whose only cluster has one corrupt page, and the block and path of it."""
    with temporary_clusters() as factory:
        cluster = factory(postgres_binaries(15), settings={"autovacuum": "off"})
        sql(cluster, "CREATE TABLE item AS SELECT i, md5(i::text) FROM generate_series(1, 5000) AS i", "CHECKPOINT")
        path = ask_server(cluster, "SELECT pg_relation_filepath('item')")
        cluster.stop()
        with (cluster.data_directory / path).open("r+b") as file:
            file.seek(3 * 8192 + 4000)
            file.write(b"damage")
        cluster.start()
        stack = StackDirectory(tmp_path / "stack", {"db": cluster.conninfo()})
        stack.succeed("init")
        yield stack, path


def test_each_corrupt_page_is_named(damaged_stack, call):
    stack, path = damaged_stack
    assert call(stack, "backup", "db").code == 3
    shown = call(stack, "show").out
    assert "CORRUPT SOURCE" in shown
    assert f"{path} block 3, LSN 0/" in shown
    assert "warnings" in shown
    message = call(stack, "show", "--json").message("snapshot")
    assert (message["is_clean"], message["is_complete"]) == (False, True)
    (page,) = message["facts"]["corrupt_pages"]
    assert (page["path"], page["block"]) == (path, 3)
