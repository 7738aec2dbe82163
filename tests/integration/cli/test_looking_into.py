"""ls, find, diff and dump show what the data directory held when it was backed up."""

from __future__ import annotations

import json
import os
import stat

import pytest
from tests.integration.backup_restore.clusters import ask as ask_server


def table_path(shop, table: str) -> str:
    return ask_server(shop.cluster, f"SELECT pg_relation_filepath('{table}')")


def test_ls_shows_what_lies_in_a_directory(shop, ask):
    names = ask("ls", "latest").out.splitlines()
    assert {"base/", "global/", "pg_wal/", "PG_VERSION", "backup_label"} <= set(names)
    assert all("/" not in name[:-1] for name in names)
    assert names == sorted(names, key=lambda name: name.rstrip("/"))


def test_ls_recursive_shows_all_that_is_below(shop, ask):
    everything = ask("ls", "-R", "latest").out.splitlines()
    assert table_path(shop, "later") in everything
    below = ask("ls", "-R", "latest", "base").out.splitlines()
    assert below == [path for path in everything if path.startswith("base/") and path != "base/"]
    assert len(below) > 500


def test_ls_long_shows_mode_owner_size_and_time(shop, ask):
    (line,) = ask("ls", "-l", "latest", "PG_VERSION").out.splitlines()
    mode, owner, size, day, time, name = line.split()
    facts = (shop.cluster.data_directory / "PG_VERSION").stat()
    assert (mode, size, name) == (stat.filemode(facts.st_mode), "3", "PG_VERSION")
    assert owner.count(":") == 1
    assert len(f"{day} {time}") == len("2026-11-21 08:00:00")


def test_ls_looks_behind_the_link_of_a_tablespace(shop, ask):
    oid = shop.first["facts"]["tablespaces"][0]["oid"]
    (link,) = ask("ls", "-l", "latest", "pg_tblspc").out.splitlines()
    assert link.startswith("l")
    assert link.endswith(f"pg_tblspc/{oid} -> {shop.first['facts']['tablespaces'][0]['location']}")
    (inside,) = ask("ls", "latest", f"pg_tblspc/{oid}").out.splitlines()
    assert inside.startswith(f"pg_tblspc/{oid}/PG_15_")


def test_ls_messages_are_exact(shop, ask):
    (entry,) = ask("ls", "latest", "PG_VERSION", "--json").messages
    facts = (shop.cluster.data_directory / "PG_VERSION").stat()
    assert entry["kind"] == "file"
    assert (entry["mtime_ns"], entry["uid"], entry["size_bytes"]) == (facts.st_mtime_ns, facts.st_uid, 3)
    assert entry["mode"] == f"{stat.S_IMODE(facts.st_mode):04o}"
    assert len(ask("ls", "-R", "latest", "--json").messages) > 900


def test_a_path_that_is_not_there_is_refused_with_the_nearest_that_is(shop, call):
    refused = call(shop.stack, "ls", "latest", "base/nowhere/deep", "--json")
    assert refused.code == 2
    assert refused.error["hint"] == f"'holdfast ls {shop.second['id'][:8]} base' shows what is there"


def test_find_tells_which_snapshots_hold_which_version(shop, ask):
    by_path = {each["path"]: each for each in ask("find", "PG_VERSION", "--json").messages}
    assert by_path["PG_VERSION"]["snapshots"] == [shop.first["id"], shop.second["id"]]
    controls = ask("find", "global/pg_control", "--json").messages
    assert [each["snapshots"] for each in controls] == [[shop.first["id"]], [shop.second["id"]]]
    (later,) = ask("find", table_path(shop, "later"), "--json").messages
    assert later["snapshots"] == [shop.second["id"]]


def test_find_can_be_restricted(shop, ask):
    assert ask("find", "pg_control", "--snapshot", shop.first["id"][:8], "--json").messages[0]["snapshots"] == [
        shop.first["id"]
    ]
    assert ask("find", "pg_control", "--service", "other", "--json").messages == []
    assert len(ask("find", "pg_control", "--service", "db", "--json").messages) == 2


def test_find_matches_whole_names(shop, ask):
    assert ask("find", "control").out == ""
    assert "nothing matches" in ask("find", "control").err
    assert "nothing matches" not in ask("find", "control", "-q").err
    table = ask("find", "*control").out
    assert "global/pg_control" in table
    assert shop.first["id"][:8] in table


def test_diff_tells_what_came_what_went_and_what_changed(shop, ask):
    found = ask("diff", shop.first["id"][:8], "latest", "--json").messages
    changes = {each["path"]: each["change"] for each in found if each["message_type"] == "difference"}
    later = table_path(shop, "later")
    assert changes[later] == "added"
    assert changes["global/pg_control"] == "content"
    assert "PG_VERSION" not in changes
    totals = found[-1]
    assert totals["message_type"] == "differences"
    for change in ("added", "removed", "content", "attributes"):
        assert totals[change] == list(changes.values()).count(change)
    lines = ask("diff", shop.first["id"][:8], "latest").out.splitlines()
    assert any(line.startswith(f"+ {later}") for line in lines)
    backwards = ask("diff", shop.second["id"][:8], shop.first["id"][:8], "--json").messages
    assert {e["path"]: e["change"] for e in backwards if e["message_type"] == "difference"}[later] == "removed"


def test_one_snapshot_alone_is_compared_with_the_one_before_it(shop, ask, call):
    both = ask("diff", shop.first["id"], shop.second["id"], "--json").messages
    for alone in (["diff"], ["diff", "latest"], ["diff", shop.second["id"][:8]], ["diff", "latest", "--service", "db"]):
        assert ask(*alone, "--json").messages == both
    assert (both[-1]["before"], both[-1]["after"]) == (shop.first["id"], shop.second["id"])
    told = ask("diff").out
    assert f"from shop/db {shop.first['id'][:8]} (" in told
    assert f"to   shop/db {shop.second['id'][:8]} (" in told
    refused = call(shop.stack, "diff", shop.first["id"], "--json")
    words = f"no snapshot of shop/db is older than {shop.first['id'][:8]}"
    assert (refused.code, refused.error["message"]) == (2, words)


@pytest.mark.parametrize("after", ["latest", "ID"])
def test_a_snapshot_is_not_compared_with_itself(shop, call, after: str):
    """Who reads that nothing differs would believe that the service did not change."""
    refused = call(shop.stack, "diff", "latest", shop.second["id"] if after == "ID" else after, "--json")
    assert refused.code == 2
    assert "does not differ from itself" in refused.error["message"]
    assert f"holdfast diff {shop.second['id'][:8]}" in refused.error["hint"]


def test_dump_gives_every_byte(shop, ask):
    assert ask("dump", "latest", "PG_VERSION").raw == b"15\n"
    path = table_path(shop, "item")
    assert ask("dump", "latest", path).raw == (shop.cluster.data_directory / path).read_bytes()
    wal = ask("dump", "latest", f"pg_wal/{shop.second['facts']['wal_segments'][0]}").raw
    assert len(wal) == 16 << 20


def test_dump_into_a_file(shop, ask, call, tmp_path):
    target = tmp_path / "version"
    message = ask("dump", "latest", "PG_VERSION", "--output", target, "--json").message("dumped")
    assert (message["size_bytes"], message["output"]) == (3, str(target))
    assert target.read_bytes() == b"15\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    again = call(shop.stack, "dump", "latest", "PG_VERSION", "--output", target, "--json")
    assert (again.code, target.read_bytes()) == (2, b"15\n")
    assert "already" in again.error["message"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["base"], "base is a directory, not a file"),
        (["nowhere"], "holds no nowhere"),
        (["PG_VERSION", "--json"], "add --output FILE"),
        (["PG_VERSION", "--output", "/nowhere/file"], "cannot write /nowhere/file: no such file or directory"),
    ],
)
def test_what_cannot_be_dumped(shop, call, arguments: list[str], words: str):
    refused = call(shop.stack, "dump", "latest", *arguments)
    assert refused.code == 2
    assert words in refused.err + refused.out


def test_a_failed_dump_leaves_no_file_behind(copied_stack, call, tmp_path):
    for pack in (copied_stack.place / "packs" / "data").rglob("*"):
        if pack.is_file():
            os.truncate(pack, pack.stat().st_size - 1)
    failed = call(copied_stack, "dump", "latest", "PG_VERSION", "--output", tmp_path / "file", "--json")
    assert failed.code == 14
    assert failed.error["error"] == "DamageError"
    assert list(tmp_path.glob("file*")) == []


def test_binary_is_not_written_to_a_terminal(shop, monkeypatch):
    import pty

    program, terminal = pty.openpty()
    try:
        command = shop.stack.command("dump", "latest", "global/pg_control")
        import subprocess

        child = subprocess.run(
            command, stdout=terminal, stderr=subprocess.PIPE, text=True, env=shop.stack.environment, check=False
        )
        assert child.returncode == 2
        assert "HINT: add > FILE, or --output FILE" in child.stderr
        text = subprocess.run(
            shop.stack.command("dump", "latest", "PG_VERSION"), stdout=terminal, env=shop.stack.environment, check=True
        )
        assert text.returncode == 0
        assert os.read(program, 100).split() == [b"15"]
    finally:
        os.close(terminal)
        os.close(program)


def test_stats_add_up(shop, ask):
    found = ask("stats", "--json").messages
    (service,), total = [each for each in found if each["message_type"] == "service_stats"], found[-1]
    assert service["logical_bytes"] == sum(each["stats"]["size_bytes"] for each in (shop.first, shop.second))
    assert service["unique_bytes"] == total["unique_bytes"] < service["logical_bytes"]
    assert total["stored_bytes"] < total["unique_bytes"]
    stored = sum(path.stat().st_size for path in (shop.stack.place / "packs").rglob("*") if path.is_file())
    assert total["pack_bytes"] == stored
    assert 0 < total["unreferenced_bytes"] < 20_000
    assert total["index_memory_bytes"] == 48 * total["indexed_chunks"]
    table = ask("stats").out
    assert "shop/db" in table
    assert f"{total['dedup_ratio']:.2f}x" in table


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--service", "db"], ["first", "second"]),
        (["--service", "mail"], []),
        (["--host", "HOST"], ["first", "second"]),
        (["--host", "elsewhere"], []),
        (["--tag", "before"], ["first"]),
        (["--tag", "before", "--tag", "after"], []),
        (["--since", "SECOND"], ["second"]),
        (["--until", "FIRST"], ["first"]),
        (["--since", "FIRST", "--until", "SECOND", "--service", "db"], ["first", "second"]),
        (["--since", "2999-01-01"], []),
        (["--until", "2020-01-01T00:00:00+14:00"], []),
    ],
    ids=" ".join,
)
def test_a_listing_is_narrowed_by_service_host_tag_and_time(shop, ask, options: list[str], found: list[str]):
    words = {"HOST": shop.first["host"], "FIRST": shop.first["started"], "SECOND": shop.second["started"]}
    listed = ask("snapshots", *(words.get(option, option) for option in options), "--json").messages
    assert [each["id"] for each in listed] == [getattr(shop, name)["id"] for name in found]


def test_a_time_that_is_none_is_refused(shop, call):
    refused = call(shop.stack, "snapshots", "--since", "yesterdayish", "--json")
    assert refused.code == 2
    assert "2026-11-20" in refused.error["hint"]


def test_a_listing_of_nothing_says_so(shop, ask):
    answer = ask("snapshots", "--service", "nothing")
    assert (answer.out, answer.err) == ("", "no snapshot fits; without options all are listed\n")
    assert ask("snapshots", "--service", "nothing", "--json").out == ""


def test_the_listing_is_one_json_object_a_line(shop, ask):
    assert [json.loads(line)["id"] for line in ask("snapshots", "--json").out.splitlines()] == [
        shop.first["id"],
        shop.second["id"],
    ]
    (tagged,) = ask("snapshots", "--tag", "after", "--json").messages
    assert tagged["id"] == shop.second["id"]
