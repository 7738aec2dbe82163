"""What a snapshot says of write activity: how many pages of which relation changed, by name."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.integration.backup_restore.clusters import make_place, sql
from tests.integration.backup_restore.stack import StackDirectory
from tests.integration.cli.calling import validator
from tests.servers.postgres import postgres_binaries

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.postgres import ClusterFactory

ROWS = "SELECT i AS id, repeat(md5(i::text), 8) AS t FROM generate_series(1, 20000) AS i"


@pytest.mark.parametrize("major", [15, pytest.param(17, marks=pytest.mark.slow), 18])
def test_snapshot_names_the_relations_that_changed(
    major: int, make_cluster: ClusterFactory, tmp_path: Path, shared_directory: Path
) -> None:
    cluster = make_cluster(postgres_binaries(major), settings={"autovacuum": "off"})
    place = make_place(shared_directory, "place")
    sql(cluster, 'CREATE DATABASE "Shop \u0007"', f"CREATE TABLESPACE far LOCATION '{place}'")
    sql(cluster, f"CREATE TABLE still AS {ROWS}", f"CREATE TABLE away TABLESPACE far AS {ROWS}", "VACUUM", "CHECKPOINT")
    made = ("CREATE SCHEMA s", f'CREATE TABLE s."Orders" AS {ROWS}', "VACUUM", "CHECKPOINT")
    sql(cluster, *made, dbname="Shop \u0007")
    stack = StackDirectory(tmp_path / "stack", {"db": cluster.conninfo()})
    stack.succeed("init")
    assert stack.backup()["facts"]["changed_page_count"] is None

    sql(cluster, "UPDATE away SET t = 'x' WHERE id = 1", "CHECKPOINT")
    sql(cluster, """UPDATE s."Orders" SET t = t || '!' WHERE id % 30 = 0""", "CHECKPOINT", dbname="Shop \u0007")
    facts = stack.backup()["facts"]
    changed = {(each["database"], each["relation"], each["fork"]): each["pages"] for each in facts["changed_pages"]}
    orders = changed["Shop \u0007", 's."Orders"', ""]
    assert 500 < orders < 900
    assert 1 <= changed["postgres", "public.away", ""] <= 3
    assert all("still" not in relation for _, relation, _ in changed)
    assert facts["changed_page_count"] == sum(changed.values())

    words = subprocess.run(
        stack.command("show"), env=stack.environment, capture_output=True, text=True, check=True
    ).stdout
    assert 's."Orders" (base/' in words
    assert "\u0007" not in words
    assert f"{orders:,}" in words

    first, second = (each["id"] for each in stack.snapshots())
    sql(cluster, 'ALTER TABLE s."Orders" RENAME TO sales', dbname="Shop \u0007")
    sql(cluster, "UPDATE s.sales SET t = t || '?' WHERE id % 30 = 1", "CHECKPOINT", dbname="Shop \u0007")
    third = stack.backup()["id"]
    told = diff_relations(stack, second, third)
    orders_file = next(each["path"] for each in facts["changed_pages"] if "Orders" in each["relation"])
    was, is_now = ({"database": "Shop \u0007", "relation": name} for name in ('s."Orders"', "s.sales"))
    assert told[orders_file] == (was, is_now)
    assert diff_relations(stack, first, second)[orders_file] == (None, was)
    over_both = stack.succeed("diff", first, third).message("differences")["changed_relations"]
    counted = {(each["relation"], each["fork"]): each["pages"] for each in over_both}
    assert counted["s.sales", ""] > orders
    assert 1 <= counted["public.away", ""] <= 3  # changed before the second alone: the name is found there
    words = subprocess.run(
        stack.command("diff", second, third), env=stack.environment, capture_output=True, text=True, check=True
    ).stdout
    assert 's."Orders" -> ' in words
    assert "\u0007" not in words


def diff_relations(stack: StackDirectory, before: str, after: str) -> dict[str, tuple[object, object]]:
    """Return the names of each path that differs, on either side."""
    messages = stack.succeed("diff", before, after).messages
    for message in messages:
        validator(message["message_type"]).validate(message)
    return {
        each["path"]: (each["before_relation"], each["after_relation"])
        for each in messages
        if each["message_type"] == "difference"
    }
