"""What must never happen to an archive, by its number in FAULTS, on a real server's WAL."""

from __future__ import annotations

import json
import os

import pytest
from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.backup_restore.stack import wait_until

from holdfast.errors import ExitCode
from holdfast.postgres.initdb import quoted_setting
from holdfast.wal.names import WalFileKind
from holdfast.wal.ownership import MARKER_NAME


@pytest.fixture
def stored(kept):
    """A segment that is archived, and a copy of it to tamper with."""
    (name,) = kept.write(1)
    kept.wait_archived([name])
    return kept.salvaged(name)


def test_fault_01_other_bytes_under_a_taken_name_are_refused_and_kept_apart(kept, stored):
    before = bytes(kept.archive().get(stored.name))
    other = bytearray(stored.read_bytes())
    other[100] ^= 1
    stored.write_bytes(other)
    for _ in range(2):
        answer = kept.push(stored)
        assert answer.returncode == ExitCode.VERIFICATION_FAILED
        assert "other bytes" in answer.stderr
        assert "HINT: two clusters write into one archive" in answer.stderr
    assert bytes(kept.archive().get(stored.name)) == before
    (apart,) = [each.name for each in kept.archive().list() if each.kind is WalFileKind.CONFLICT]
    assert bytes(kept.archive().get(apart)) == bytes(other)
    assert json.loads((kept.spool / "push.json").read_text())["failure"]["file"] == stored.name


def test_fault_02_the_same_segment_again_is_success_once_the_stored_copy_is_whole(kept, stored):
    assert kept.push(stored).returncode == 0
    (place,) = (kept.repository / "wal").rglob(stored.name)
    content = place.read_bytes()
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 1
    try:
        place.write_bytes(damaged)
        answer = kept.push(stored)
        assert answer.returncode == ExitCode.VERIFICATION_FAILED
        assert "its bytes are not those that were stored" in answer.stderr
    finally:
        place.write_bytes(content)
    assert kept.push(stored).returncode == 0


def test_fault_03_a_history_file_is_never_overwritten(kept):
    place = kept.directory / "histories"
    place.mkdir()
    path = place / "00000009.history"
    path.write_text("8\t0/3000000\tno recovery target specified\n")
    assert kept.push(path).returncode == 0
    path.write_text("8\t0/4000000\tno recovery target specified\n")
    assert kept.push(path).returncode == ExitCode.VERIFICATION_FAILED
    assert b"0/3000000" in kept.archive().get(path.name)
    path.write_text("")
    assert "names no ancestor" in kept.push(path).stderr


def test_fault_05_a_full_queue_drops_nothing_unless_told_to(make_archiving):
    shop = make_archiving(wal={"queue_limit": "2MiB"})
    away = shop.repository.with_name("elsewhere")
    os.rename(shop.repository, away)
    names = shop.write(4)
    shop.wait_failed(2)
    answer = shop.push(f"pg_wal/{names[0]}")
    assert answer.returncode == ExitCode.NO_REPOSITORY
    assert "the queue is full: 4 WAL files wait to be archived" in answer.stderr
    assert json.loads((shop.spool / "push.json").read_text())["is_full"]
    assert not set(names) & shop.status(".done")
    os.rename(away, shop.repository)
    shop.wait_archived(names)
    assert not json.loads((shop.spool / "push.json").read_text())["is_full"]


def test_fault_05_what_is_dropped_on_purpose_leaves_a_record(make_archiving):
    shop = make_archiving(wal={"queue_limit": "2MiB", "when_full": "drop"})
    away = shop.repository.with_name("elsewhere")
    shop.archive_by("false")
    os.rename(shop.repository, away)
    names = shop.write(4)
    # as archive_command would, oldest first, until no more than the limit waits
    answer = shop.run(
        "wal", "push", "db", f"pg_wal/{names[0]}", f"--settings={shop.spool / 'settings'}"
    )  # the long way
    assert (answer.returncode, answer.stdout) == (0, f"{names[0]}: given up\n")
    assert f"GAVE UP {names[0]}" in answer.stderr
    assert "run 'holdfast backup'" in answer.stderr
    assert (shop.spool / "gaps" / names[0]).exists()
    assert json.loads((shop.spool / "push.json").read_text())["gaps"] == [names[0]]
    (shop.wal_directory / "archive_status" / f"{names[0]}.ready").rename(
        shop.wal_directory / "archive_status" / f"{names[0]}.done"
    )
    (shop.wal_directory / names[0]).unlink()  # as a checkpoint would
    assert shop.push(f"pg_wal/{names[1]}").returncode == 0  # two wait behind it: 3 MiB
    (shop.wal_directory / "archive_status" / f"{names[1]}.ready").rename(
        shop.wal_directory / "archive_status" / f"{names[1]}.done"
    )
    assert shop.push(f"pg_wal/{names[2]}").returncode == ExitCode.NO_REPOSITORY, "no more than the limit waits now"

    os.rename(away, shop.repository)
    answer = shop.push(f"pg_wal/{names[2]}")
    assert answer.returncode == 0
    assert f"gap: {names[0]}" in answer.stderr
    assert f"{names[1]} had been given up, and is in the archive after all" in answer.stderr
    assert shop.archived() == {f"{names[0]}.gap", names[1], names[2], names[3]}
    record = json.loads(bytes(shop.archive().get(f"{names[0]}.gap")))
    assert (record["segment"], "no repository" in record["reason"]) == (names[0], True)
    assert not list((shop.spool / "gaps").iterdir())


def test_fault_06_an_archive_command_that_does_nothing_is_noticed(kept):
    kept.archive_by("/bin/true")
    lost = kept.write(2)
    wait_until(lambda: kept.status(".done") >= set(lost))
    examined = [each for each in kept.stack.run("doctor").messages if each["message_type"] == "examined"]
    told = "archive_command is not the one that 'holdfast wal setup db' gave: /bin/true"
    (finding,) = [each for each in examined if told in each["words"]]
    mode, command, restore = finding["details"]  # word for word what belongs into postgresql.conf
    assert mode == "archive_mode = 'on'"
    assert command == f'archive_command = \'set -- "%p" "%f"; . {kept.spool}/archive\''
    set_up = kept.stack.succeed("wal", "setup", "db").message("wal_set_up")["settings"]
    assert [mode, command, restore] == [f"{name} = {quoted_setting(value)}" for name, value in set_up.items()]
    with (kept.cluster.data_directory / "postgresql.conf").open("a") as file:
        file.write(f"{mode}\n{command}\n")
    sql(kept.cluster, "SELECT pg_reload_conf()")
    wait_until(lambda: ask(kept.cluster, "SHOW archive_command") == set_up["archive_command"])
    names = kept.write(1)
    wait_until(lambda: kept.status(".done") >= set(names))
    assert not set(lost) & kept.archived()
    assert set(names) <= kept.archived()
    for name in lost:  # the server still has them: what was missed can be pushed by hand
        assert kept.push(f"pg_wal/{name}").returncode == 0
    kept.require_truthful()


def test_fault_37_a_restored_cluster_does_not_write_into_the_archive_of_its_origin(kept):
    kept.archive_by("false")
    (name,) = kept.write(1)
    marker = kept.cluster.data_directory / MARKER_NAME
    marker.write_text(json.dumps({"snapshot": "0" * 32, "finished": "2026-11-20T14:03:00+00:00"}))
    try:
        answer = kept.push(f"pg_wal/{name}")
        assert answer.returncode == ExitCode.FAILED
        assert "was restored from a backup, and does not write into the archive" in answer.stderr
        assert "holdfast wal adopt" in answer.stderr
        with kept.serving() as process:
            wait_until(lambda: any("was restored" in line for line in kept.serve_log()))
            assert process.poll() is None
            assert not kept.is_acknowledged(name)
            assert name not in kept.archived()
            marker.write_text(json.dumps({"snapshot": "0" * 32, "adopted": "2026-11-20T15:00:00+00:00"}))
            wait_until(lambda: kept.is_acknowledged(name))
        assert kept.push(f"pg_wal/{name}").returncode == 0
    finally:
        marker.unlink()
    kept.archive_by(f"{kept.spool}/archive %p %f")
    kept.wait_archived([name])


def test_fault_37_a_copy_elsewhere_is_refused_by_its_place(kept, tmp_path_factory):
    (name,) = kept.write(1)
    kept.wait_archived([name])
    copy = kept.directory / "clone"
    (copy / "pg_wal").mkdir(parents=True)
    (copy / "PG_VERSION").write_text("15\n")
    (copy / "pg_wal" / name).write_bytes((kept.wal_directory / name).read_bytes())
    answer = kept.push(copy / "pg_wal" / name)
    assert answer.returncode == ExitCode.FAILED
    assert f"is of the cluster in {copy}" in answer.stderr


@pytest.mark.parametrize("path", ["pg_wal/nonsense", "pg_wal/000000010000000000000001.gap", "pg_wal"])
def test_what_is_no_wal_file_is_refused(kept, path):
    answer = kept.push(path)
    assert answer.returncode == ExitCode.VERIFICATION_FAILED
    assert "not a WAL file" in answer.stderr


def test_a_file_that_is_gone(kept):
    answer = kept.push("pg_wal/000000010000000000FFFFFF")
    assert answer.returncode == ExitCode.FAILED
    assert "no such file" in answer.stderr


def test_settings_that_are_not_there(kept):
    answer = kept.run("wal", "push", "db", "pg_wal/000000010000000000000001", "--settings", "/nowhere/settings")
    assert answer.returncode == ExitCode.USAGE
    assert "HINT: run 'holdfast wal setup'" in answer.stderr


def test_settings_of_another_service(kept):
    settings = str(kept.spool / "settings")
    answer = kept.run("wal", "push", "other", "pg_wal/000000010000000000000001", "--settings", settings)
    assert answer.returncode == ExitCode.USAGE


def test_settings_hold_no_private_key_and_are_nobody_elses(kept):
    keyring = kept.settings.keyring
    assert keyring is not None
    assert not keyring.can_read_data
    assert [epoch.private for epoch in keyring.epochs] == [None] * len(keyring.epochs)
    assert (kept.spool / "settings").stat().st_mode & 0o777 == 0o600
    assert kept.spool.stat().st_mode & 0o777 == 0o700
    assert "identity" not in (kept.spool / "settings").read_text()


def test_a_role_without_privileges_cannot_set_up(kept):
    sql(kept.cluster, "CREATE ROLE weak LOGIN")
    try:
        kept.stack.connections = {"db": kept.cluster.conninfo(user="weak")}
        kept.stack.write()
        run = kept.stack.run("wal", "setup", "db")
        assert run.code == ExitCode.FAILED
        assert run.error["hint"]
    finally:
        kept.stack.connections = {"db": kept.cluster.conninfo()}
        kept.stack.write()
        sql(kept.cluster, "DROP ROLE weak")
    kept.set_up()
