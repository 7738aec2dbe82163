"""In place to an instant: with an archive behind it, under load, and the archive goes on afterwards."""

import signal

from tests.integration.backup_restore.stack import kill, wait_until
from tests.integration.in_place.services import archive, archived
from tests.servers.load import Ledger, compare

from holdfast import clock

LONGEST_OUTAGE_S = 60
"""A second where nobody else works; how long it is there, the benchmarks say."""


def test_a_dropped_table_comes_back_from_just_before(make):
    service = make()
    archive(service)
    service.sql("CREATE TABLE item AS SELECT i AS id FROM generate_series(1, 1000) AS i")
    service.stack.backup()
    service.sql("INSERT INTO item SELECT i FROM generate_series(1001, 2000) AS i")
    before = service.ask("SELECT clock_timestamp()::text")
    clock.sleep(0.05)
    service.sql("DROP TABLE item")

    done = service.stack.succeed("restore", "db", "--to", before, "--yes").message("restored_in_place")
    assert service.ask("SELECT count(*) FROM item") == 2000
    assert (service.timeline, done["archives_again"], 0 < done["outage_s"] < LONGEST_OUTAGE_S) == (2, True, True)
    assert service.ask("SHOW archive_mode") == "on"
    assert service.ask("SHOW max_logical_replication_workers") != "0"

    service.sql("INSERT INTO item VALUES (2001)")
    segment = service.ask("SELECT pg_walfile_name(pg_switch_wal())")
    assert segment.startswith("00000002")
    wait_until(lambda: {segment, "00000002.history"} <= archived(service))

    # what the new timeline committed is reached from the old snapshot
    service.sql("DELETE FROM item")
    service.sql("SELECT pg_create_restore_point('emptied')", "DROP TABLE item")
    service.stack.succeed("restore", "db", "--to", "name:emptied", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 0
    assert service.timeline == 3
    assert len(service.checkpoints) == 2

    # the snapshot alone, and still no timeline twice
    service.stack.succeed("restore", "db", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 1000
    assert service.timeline == 4

    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 0
    assert service.timeline == 3
    service.stack.succeed("check", "--read-data")


def test_under_load_every_commit_up_to_the_target_is_there(make):
    service = make()
    archive(service)
    with Ledger(service.conninfo) as ledger:
        ledger.wait_for(200)
        service.stack.backup()
        ledger.wait_for(500)
        target = ledger.commits()[-1].lsn
        ledger.wait_for(300)
        done = service.stack.succeed("restore", "db", "--to", str(target), "--yes").message("restored_in_place")
    assert ledger.interruptions, "the load was not interrupted: was this server replaced?"
    comparison = compare(service.conninfo, ledger.commits(until=target))
    assert comparison.is_exact, comparison
    assert comparison.rows <= sum(len(commit.ids) for commit in ledger.commits(until=target)) + 2 * 5
    assert 0 < done["outage_s"] < LONGEST_OUTAGE_S


def wait_until_stored(service):
    """Wait until the receiver has told the server that everything written so far is in the repository."""
    position = service.ask("SELECT pg_current_wal_flush_lsn()::text")
    stored = f"SELECT restart_lsn >= '{position}' FROM pg_replication_slots WHERE slot_name = 'holdfast_db'"
    wait_until(lambda: service.ask(stored))


def test_a_receiver_follows_to_the_new_timeline_though_it_comes_late(make):
    service = make()
    service.stack.service = {**service.stack.service, "wal": {"spool": str(service.place / "received")}}
    service.stack.write()
    service.sql("CREATE TABLE item AS SELECT i AS id FROM generate_series(1, 1000) AS i")
    service.stack.backup()
    receiver = service.stack.start("wal", "receive", "db", "--create-slot")
    try:
        wait_until(lambda: service.ask("SELECT count(*) FROM pg_stat_replication") == 1)
        target = service.ask("SELECT clock_timestamp()::text")
        clock.sleep(0.05)
        service.sql("INSERT INTO item VALUES (1001)", "DROP TABLE item")
        wait_until_stored(service)
        kill(receiver, signal.SIGTERM)

        service.stack.succeed("restore", "db", "--to", target, "--yes")
        assert service.ask("SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'holdfast_db'") == "reserved"
        for number in range(4):  # without the slot, the first WAL of the new timeline would be recycled by now
            service.sql(f"INSERT INTO item VALUES ({number})", "SELECT pg_switch_wal()", "CHECKPOINT")

        receiver = service.stack.start("wal", "receive", "db")
        wait_until(lambda: service.ask("SELECT count(*) FROM pg_stat_replication") == 1)
        service.sql("INSERT INTO item VALUES (2001)")
        wait_until_stored(service)
        status = service.stack.succeed("wal", "status", "db").message("wal_status")
        assert [window["timeline"] for window in status["windows"]] == [1, 2]
        assert status["gaps"] == []
    finally:
        kill(receiver, signal.SIGTERM)


def test_a_slot_that_was_dropped_on_purpose_is_not_made_anew(make):
    """Nobody would ever take WAL out of it, and the disk would fill."""
    service = make()
    service.stack.service = {**service.stack.service, "wal": {"spool": str(service.place / "received")}}
    service.stack.write()
    service.stack.backup()
    receiver = service.stack.start("wal", "receive", "db", "--create-slot")
    try:
        wait_until(lambda: service.ask("SELECT count(*) FROM pg_stat_replication") == 1)
    finally:
        kill(receiver, signal.SIGTERM)
    service.stack.succeed("wal", "receive", "db", "--drop-slot")
    service.stack.succeed("restore", "db", "--yes")
    assert service.ask("SELECT count(*) FROM pg_replication_slots") == 0


def test_after_an_undo_the_latest_is_what_is_in_service_and_not_the_highest_timeline(make):
    service = make()
    archive(service)
    service.sql("CREATE TABLE item AS SELECT 1 AS id")
    service.stack.backup()
    service.stack.succeed("restore", "db", "--to", "latest", "--yes")
    service.sql("DELETE FROM item")
    left = service.ask("SELECT pg_walfile_name(pg_switch_wal())")
    wait_until(lambda: left in archived(service))
    service.stack.succeed("restore", "db", "--undo", "--yes")
    service.sql("INSERT INTO item VALUES (2)", "SELECT pg_create_restore_point('kept')")

    plan = service.stack.succeed("restore", "db", "--to", "latest", "--dry-run").message("in_place_plan")
    assert plan["timelines"] == [1]
    assert service.stack.succeed("wal", "find", "--service", "db", "--name", "kept").message("restore_point")
    service.stack.succeed("restore", "db", "--to", "latest", "--yes")
    assert (service.ask("SELECT count(*) FROM item"), service.timeline) == (2, 3)


def test_a_moment_ago_on_an_idle_server_is_reached_though_its_segment_is_not_full(make, tmp_path):
    service = make()
    archive(service)
    service.stack.backup()
    service.sql("CREATE TABLE item AS SELECT i AS id FROM generate_series(1, 7) AS i")
    xid = service.ask("SELECT xmin FROM pg_class WHERE relname = 'item'")
    clock.sleep(0.05)
    now = service.ask("SELECT clock_timestamp()::text")  # and nothing happens after this
    part = tmp_path / "item.sql"
    run = service.stack.succeed("restore", "db", "--table", "item", "--to", now, "--output", part)
    assert run.message("part_restored")["tables"] == ["public.item"]
    assert "\n7\n" in part.read_text()
    assert service.stack.succeed("wal", "find", "--service", "db", "--xid", xid).message("transaction_end")
    service.sql("BEGIN; DELETE FROM item; ROLLBACK", "INSERT INTO item VALUES (8)")
    now = service.ask("SELECT clock_timestamp()::text")
    run = service.stack.run("restore", "db", "--to", now, "--yes")
    assert run.code == 0, (service.place / "log").read_text() + str(run)
    assert service.ask("SELECT count(*) FROM item") == 8


def test_a_dry_run_and_a_question_that_the_archive_answers_leave_the_server_alone(make):
    service = make()
    archive(service)
    service.stack.backup()
    began = service.ask("SELECT clock_timestamp()::text")
    service.sql("CREATE TABLE item AS SELECT 1 AS id", "SELECT pg_create_restore_point('known')")
    xid = service.ask("SELECT xmin FROM pg_class WHERE relname = 'item'")
    ended = service.ask("SELECT clock_timestamp()::text")
    service.sql("INSERT INTO item VALUES (2)")
    last = service.ask("SELECT pg_walfile_name(pg_switch_wal())")
    wait_until(lambda: last in archived(service))
    service.sql("INSERT INTO item VALUES (3)")  # now there is something to switch away from
    present = "SELECT pg_walfile_name(pg_current_wal_insert_lsn())"
    before = service.ask(present)

    service.stack.succeed("wal", "find", "--service", "db", "--xid", xid)
    service.stack.succeed("wal", "find", "--service", "db", "--name", "known")
    service.stack.succeed("wal", "find", "--service", "db", "--between", began, ended)
    plan = service.stack.succeed("restore", "db", "--to", "latest", "--dry-run")
    assert any("a dry run changes nothing" in each.get("text", "") for each in plan.messages)
    service.stack.succeed("restore", "db", "--table", "item", "--to", ended, "--output", "/nonexistent/x", "--dry-run")
    assert service.ask(present) == before

    found = service.stack.succeed("wal", "find", "--service", "db", "--between", ended, "2100-01-01 00:00")
    ended_since = [each for each in found.messages if each["message_type"] == "transaction_end"]
    assert len(ended_since) >= 2, "one of the two rows was in no archived segment before"
    assert service.ask(present) > before
