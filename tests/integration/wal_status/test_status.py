"""``wal status`` and ``status`` of a real server: quiet losses show, and a server that is down is a line."""

from __future__ import annotations

import re
import shutil

import pytest
from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.backup_restore.stack import wait_until
from tests.integration.wal_status.archiving import (
    SEGMENT_SIZE,
    kinds,
    look,
    make_archiving_stack,
    make_origin,
    open_archive,
    outbox,
    push,
    require_schema,
    set_archive_command,
    wait_until_archiving_fails,
    write_segments,
)
from tests.servers.postgres import postgres_binaries

from holdfast.errors import ExitCode, VerificationError
from holdfast.postgres.archiving import ask_archiving
from holdfast.postgres.local import StopMode
from holdfast.postgres.lsn import Lsn
from holdfast.restore.checkpoint import Checkpoint, record_checkpoint
from holdfast.restore.exchange import Parked
from holdfast.restore.state import StateDirectory
from holdfast.wal.names import conflict_name, piece_name


@pytest.fixture
def origin(make_cluster):
    return make_origin(make_cluster, postgres_binaries(15))


@pytest.fixture
def stack(origin, shared_directory):
    return make_archiving_stack(shared_directory, origin)


def identifier(stack) -> str:
    return stack.open().snapshots()[-1].facts["system_identifier"]


def test_fault_06_an_archive_command_that_does_nothing_is_noticed_at_once_and_after(origin, stack, shared_directory):
    stack.backup()
    write_segments(origin, 1, 2)
    push(stack, outbox(origin))
    message = look(stack)
    assert (len(message["windows"]), message["gaps"], message["alerts"]) == (1, [], [])
    set_archive_command(origin, "true")
    write_segments(origin, 3, 4)
    push(stack, outbox(origin))
    message = look(stack, code=3)
    assert kinds(message) == ["falsely archived"]
    assert message["server"]["last_archived"] in message["alerts"][0]["words"]
    before = message["windows"][0]["end_lsn"]
    sql(origin, "ALTER SYSTEM RESET archive_command", "SELECT pg_reload_conf()")
    wait_until(lambda: ask(origin, "SHOW archive_command") != "true")
    write_segments(origin, 5, 6)
    push(stack, outbox(origin))
    stack.backup()
    push(stack, outbox(origin))
    message = look(stack, code=3)
    assert kinds(message) == ["gap"]
    (gap,) = message["gaps"]
    assert gap["splits"]
    assert gap["segments"] >= 2
    assert gap["start_lsn"] == before
    early, late = message["windows"]
    assert early["end_lsn"] == before
    assert Lsn.parse(late["start_lsn"]) >= Lsn.parse(gap["end_lsn"])
    archive = open_archive(stack, identifier(stack))
    after = next(file for file in archive.list() if len(file.name) == 24 and file.name > gap["last_segment"])
    assert gap["seen"].startswith(f"{after.modified:%Y-%m-%dT%H:%M:%S}")


def test_segments_that_arrive_before_an_earlier_one_that_still_waits_raise_no_alarm(origin, stack):
    """As with several in work at a time, after the repository was away."""
    stack.backup()
    write_segments(origin, 1)
    push(stack, outbox(origin))
    set_archive_command(origin, "false")
    names = []
    for number in (2, 3, 4):
        sql(origin, f"INSERT INTO entry VALUES ({number})")
        names.append(ask(origin, "SELECT pg_walfile_name(pg_switch_wal())"))
    last = origin.data_directory / "pg_wal" / names[-1]
    open_archive(stack, identifier(stack)).push(last.name, last.read_bytes())
    wait_until_archiving_fails(origin)
    message = look(stack, code=3)
    assert [gap["splits"] for gap in message["gaps"]] == [True]
    assert kinds(message) == ["failing"]
    push(stack, [origin.data_directory / "pg_wal" / name for name in names[:-1]])
    assert look(stack, code=3)["gaps"] == []


def test_backups_of_before_archiving_was_set_up_raise_no_alarm(origin, stack):
    sql(origin, "ALTER SYSTEM SET archive_mode = off")
    origin.restart()
    older = set(outbox(origin))
    stack.backup()
    for number in (1, 2, 3):
        sql(origin, f"INSERT INTO entry VALUES ({number})", "SELECT pg_switch_wal()")
    sql(origin, "ALTER SYSTEM RESET archive_mode", "CHECKPOINT")
    origin.restart()
    write_segments(origin, 4)
    stack.backup()
    write_segments(origin, 5)
    push(stack, sorted(set(outbox(origin)) - older))
    message = look(stack)
    assert (message["gaps"], message["alerts"]) == ([], [])
    early, late = message["windows"]
    assert Lsn.parse(late["start_lsn"]) > Lsn.parse(early["end_lsn"])


def test_a_server_that_is_down_is_a_line_and_the_lag_comes_from_what_waits(origin, stack):
    stack.backup()
    write_segments(origin, 1)
    push(stack, outbox(origin))
    set_archive_command(origin, "false")
    sql(origin, *(["INSERT INTO entry VALUES (7)", "SELECT pg_switch_wal()", "DELETE FROM entry WHERE n = 7"] * 2))
    sql(origin, "SELECT pg_switch_wal()")
    wait_until_archiving_fails(origin)
    up = look(stack, code=3)
    assert up["waiting"]["segments"] >= 3
    assert up["lag"]["segments"] >= 3
    assert up["lag"]["size_bytes"] > 2 * SEGMENT_SIZE
    assert "failing" in kinds(up)
    origin.stop(StopMode.IMMEDIATE)
    down = look(stack)
    assert down["server"] is None
    assert "cannot connect" in down["server_error"]
    assert down["windows"] == up["windows"]
    assert down["waiting"]["segments"] >= up["waiting"]["segments"]
    assert down["lag"]["segments"] == down["waiting"]["segments"]
    run = stack.run("status")
    assert run.code == 0, str(run)
    assert not run.message("service_status")["server_is_up"]


def test_lag_and_window_to_the_byte_with_pieces(origin, stack):
    stack.backup()
    write_segments(origin, 1)
    push(stack, outbox(origin))
    sql(origin, "INSERT INTO entry VALUES (2)")
    flushed = Lsn.parse(ask(origin, "SELECT pg_current_wal_flush_lsn()::text"))
    name = ask(origin, "SELECT pg_walfile_name(pg_current_wal_flush_lsn())")
    end = flushed % SEGMENT_SIZE
    content = (origin.data_directory / "pg_wal" / name).read_bytes()[:end]
    archive = open_archive(stack, identifier(stack))
    archive.push(piece_name(name, 0, end), content)
    message = look(stack)
    assert message["windows"][-1]["end_lsn"] == str(flushed)
    assert message["timelines"][0]["intervals"][-1]["end_lsn"] == str(flushed)
    assert message["lag"]["archived_lsn"] == str(flushed)
    assert message["lag"]["size_bytes"] < SEGMENT_SIZE


def test_a_role_that_may_not_see_the_queue_sees_the_rest(origin, stack):
    stack.backup()
    sql(origin, "CREATE ROLE watcher LOGIN", "GRANT pg_read_all_settings TO watcher")
    write_segments(origin, 1)
    push(stack, outbox(origin))
    facts = ask_archiving(origin.conninfo(user="watcher"), None)
    assert (facts.waiting, facts.archiver.last_archived) == (None, outbox(origin)[-1].name)
    stack.connections = {"db": origin.conninfo(user="watcher")}
    stack.write()
    assert look(stack)["lag"]["segments"] == 0


def test_a_slot_that_nobody_receives_from_is_shown_and_raises_the_alarm(origin, stack):
    stack.backup()
    assert look(stack)["slot"] is None
    sql(origin, "SELECT pg_create_physical_replication_slot('holdfast_db', true)")
    write_segments(origin, 1, 2)
    push(stack, outbox(origin))
    message = look(stack, code=3)
    assert kinds(message) == ["slot"]  # nobody reads from it: the server keeps WAL until its disk is full
    slot = message["slot"]
    assert (slot["name"], slot["is_active"], slot["wal_status"]) == ("holdfast_db", False, "reserved")
    assert slot["retained_bytes"] >= 2 * SEGMENT_SIZE


def test_fault_01_other_bytes_under_a_taken_name_raise_the_alarm(origin, stack):
    stack.backup()
    write_segments(origin, 1)
    push(stack, outbox(origin))
    name = next(path for path in reversed(outbox(origin)) if len(path.name) == 24).name
    archive = open_archive(stack, identifier(stack))
    with pytest.raises(VerificationError):
        archive.push(name, bytes(SEGMENT_SIZE))
    message = look(stack, code=3)
    assert kinds(message) == ["conflict"]
    assert message["conflicts"][0].startswith(name)
    assert conflict_name(name, bytes(32))[:-16] in message["conflicts"][0]
    (alert,) = message["alerts"]
    assert f"the refusal of {name} at that time" in alert["remedy"]
    command = re.search(r"holdfast (wal discard .*)$", alert["remedy"])[1].split()
    assert "nobody is there to agree" in stack.run(*command).error["message"]
    assert look(stack, code=3)["conflicts"]
    copy = stack.place / "copy"
    copy.write_text("somebody's")
    assert "is there already" in stack.run(*command, "--yes", "--output", copy).error["message"]
    assert copy.read_text() == "somebody's"
    assert look(stack, code=3)["conflicts"]
    copy.unlink()
    message = stack.succeed(*command, "--yes", "--output", copy).message("wal_discarded")
    require_schema(message)
    assert (message["taken_name"], message["size_bytes"]) == (name, SEGMENT_SIZE)
    assert copy.read_bytes() == bytes(SEGMENT_SIZE)
    again = stack.run(*command, "--yes")
    assert (again.code, again.error["hint"]) == (ExitCode.USAGE, "nothing is kept apart")
    archived = stack.run("wal", "discard", "db", name, "--yes")
    assert (archived.code, "not bytes that were kept apart" in archived.error["message"]) == (ExitCode.USAGE, True)
    assert look(stack, code=0)["conflicts"] == []


def test_fault_19_without_a_snapshot_there_is_no_window(origin, stack):
    write_segments(origin, 1)
    push(stack, outbox(origin))
    message = look(stack)
    assert message["windows"] == []
    assert message["timelines"][0]["segments"] > 0


def test_without_any_archive_the_snapshot_is_the_window(origin, stack):
    facts = stack.backup()["facts"]
    message = look(stack)
    (window,) = message["windows"]
    assert window["start_lsn"] == facts["stop_lsn"]
    assert message["timelines"] == message["alerts"] == []
    glance = stack.succeed("status").message("service_status")
    require_schema(glance)
    assert glance["last_snapshot"]["id"] == window["snapshots"][0]
    assert glance["window"] == window
    assert glance["server_is_up"]


def test_checkpoints_of_restores_in_place_are_listed(origin, stack, shared_directory):
    state = shared_directory / "state"
    stack.service = {**stack.service, "restore": {"state": str(state)}}
    stack.write()
    kept = Checkpoint(
        id="ab" * 16,
        number=1,
        stack="shop",
        service="db",
        made="2026-11-20T14:03:00+00:00",
        until="a restore",
        home="/srv/data",
        parked=Parked(directory="/srv/data.holdfast-checkpoint-abababab"),
        description="timeline 1",
    )
    record_checkpoint(StateDirectory(state), kept)
    message = stack.succeed("status").message("service_status")
    require_schema(message)
    (checkpoint,) = message["checkpoints"]
    assert (checkpoint["id"], checkpoint["directory"]) == (kept.id, kept.parked.directory)
    assert (message["last_snapshot"], message["window"]) == (None, None)


def test_bad_input_is_one_line_with_its_exit_code(origin, stack):
    run = stack.run("wal", "status", "bd")
    assert (run.code, run.error["hint"]) == (2, "did you mean 'db'?")


def test_fault_06_a_recovery_to_the_latest_that_a_gap_ends_says_so(origin, stack, shared_directory):
    stack.backup()
    write_segments(origin, 1, 2)
    names = outbox(origin)
    push(stack, names)
    to_latest = ("restore", "db", "--target", shared_directory / "restored", "--to", "latest", "--dry-run")
    assert not [each for each in stack.succeed(*to_latest).messages if each["message_type"] == "warning"]
    write_segments(origin, 3, 4)
    write_segments(origin, 5)
    push(stack, outbox(origin)[-1:])
    run = stack.succeed(*to_latest)
    assert "the archive has a gap: 2 WAL segments missing" in run.message("warning")["text"]
    assert f"ends at {run.message('recovery_plan')['wal_end']}" in run.message("warning")["text"]


def test_without_the_repository_the_rest_is_told(origin, stack):
    """Its disk is not mounted: that no window is known is an alarm, and no reason to say nothing of the server."""
    shutil.rmtree(stack.place)
    for command in (("wal", "status"), ("status",)):
        run = stack.run(*command)
        assert run.code == 3, str(run)
        (message,) = run.messages
        require_schema(message)
        (alert,) = (each for each in message["alerts"] if each["kind"] == "repository")
        assert "there is no repository at" in alert["words"]
        assert "its disk is mounted" in alert["remedy"]
