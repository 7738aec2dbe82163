"""What a restore in place refuses, and what it puts back: one line, a HINT, the exit code, and nothing changed."""

import fcntl
import os
import pty
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from tests.integration.backup_restore.stack import finish, kill, wait_until
from tests.integration.in_place.services import archive, make_service, owner
from tests.integration.in_place.test_kills import SELDOM_WELL
from tests.servers.postgres import make_shared_directory

from holdfast.crashpoint import CrashPoint

FORGETS_ORDER = """
CREATE FUNCTION compare(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT btint4cmp($1, $2)';
CREATE OPERATOR CLASS odd FOR TYPE int4 USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=,
    OPERATOR 5 >, FUNCTION 1 compare(int4, int4);
CREATE INDEX ON item (id odd);
CREATE OR REPLACE FUNCTION compare(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT btint4cmp($2, $1)';
"""
"""An index that was built in another order than it is read in: pg_amcheck says so, no page is damaged."""


def filled(service):
    service.sql("CREATE TABLE item AS SELECT i AS id FROM generate_series(1, 1000) AS i")
    service.stack.backup()
    service.sql("INSERT INTO item SELECT i FROM generate_series(1001, 2000) AS i")
    return service


def run_as(service):
    """The words before a command of the server's account."""
    return f"setpriv --reuid={service.data.stat().st_uid} --clear-groups" if os.geteuid() == 0 else ""


def server_pid(service):
    return (service.data / "postmaster.pid").read_text().splitlines()[0]


def require_untouched(service, pid):
    """The server was never stopped, and nothing is left beside its directory."""
    assert server_pid(service) == pid
    assert service.ask("SELECT count(*) FROM item") == 2000
    assert not service.checkpoints
    assert not service.leftovers


def refused(service, code, *arguments):
    pid = server_pid(service)
    run = service.stack.run("restore", "db", *arguments)
    assert run.code == code, str(run)
    require_untouched(service, pid)
    return run.error["message"]


def test_before_anything_is_staged(service):
    assert "nobody is there to agree" in refused(service, 2)
    assert "no checkpoint" in refused(service, 2, "--undo", "--yes")
    assert "no checkpoint" in refused(service, 2, "--drop-checkpoint", "--yes")
    assert "no snapshot" in refused(service, 2, "--snapshot", "ffff", "--yes")
    refused(service, 13, "--to", "2020-01-01 00:00", "--yes")

    service.stack.service["restore"] = {**service.stack.service["restore"], "staging": "/dev/shm"}
    service.stack.write()
    assert "another file system" in refused(service, 2, "--yes")

    service.stack.service["restore"] = {"state": str(service.state)}
    service.stack.write()
    assert "stopped and started" in refused(service, 2, "--yes")


def test_the_dry_run_tells_all_and_changes_nothing(service):
    pid = server_pid(service)
    plan = service.stack.succeed("restore", "db", "--dry-run").message("in_place_plan")
    require_untouched(service, pid)
    assert plan["data_directory"] == str(service.data)
    assert plan["staging"][0].startswith(f"{service.data}.holdfast-staging-")
    assert plan["checkpoint"][0].startswith(f"{service.data}.holdfast-checkpoint-")
    assert (plan["stop"][-1], plan["start"][-1], plan["last_outage_s"]) == ("stop", "start", None)
    assert plan["file_systems"][0]["needed_bytes"] > 1 << 20
    assert not service.state.exists()


def test_one_at_a_time(service):
    service.state.mkdir()
    with (service.state / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another run" in refused(service, 11, "--yes")


def test_a_check_that_says_no_keeps_the_service_running(make):
    service = filled(make(checks={"postgres": ["SELECT count(*) > 1500 FROM item"]}))
    message = refused(service, 1, "--yes")
    assert "says false" in message


def test_a_statement_that_fails_keeps_the_service_running(make):
    service = filled(make(checks={"postgres": ["SELECT count(*) FROM no_such_table"]}))
    assert "no_such_table" in refused(service, 1, "--yes")


def test_a_corrupt_index_keeps_the_service_running(make):
    service = make(amcheck=True)
    service.sql("CREATE TABLE item AS SELECT i AS id FROM generate_series(1, 2000) AS i", *FORGETS_ORDER.split(";\n"))
    service.stack.backup()
    assert "corrupt" in refused(service, 1, "--yes")


@pytest.mark.slow
def test_amcheck_leaves_no_extension_behind(make):
    service = filled(make(amcheck=True))
    service.stack.succeed("restore", "db", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 1000
    for database in ("postgres", "template1"):
        assert service.ask("SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'", database) == 0


WAITS_FOR_EVER = """
SELECT pg_sleep(CASE WHEN current_setting('unix_socket_directories') LIKE '/tmp/holdfast-pg-%' THEN 0 ELSE 600 END)
"""
STALLS = """
CREATE FUNCTION stalls() RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
  SET statement_timeout = 0;
  IF current_setting('unix_socket_directories') NOT LIKE '/tmp/holdfast-pg-%' THEN
    COPY (SELECT 1) TO PROGRAM 'kill -STOP $PPID';
  END IF;
  RETURN true;
END $$
"""
"""Stops the very process that works on it, which neither keeps the server's limit nor ends with it in order."""


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (WAITS_FOR_EVER, "statement timeout"),
        pytest.param("SELECT stalls()", "did not answer within 6 s", marks=pytest.mark.slow),
    ],
)
def test_a_check_that_hangs_in_service_fails_and_what_was_there_is_put_back(make, check, words):
    service = make(checks={"postgres": [check]}, check_timeout="1s", stop_timeout="6s")
    service.sql(STALLS)
    filled(service)
    run = service.stack.run("restore", "db", "--yes")
    assert run.code == 1, str(run)
    assert "took longer than 1 s" in run.error["message"]
    assert words in run.error["details"][0]
    assert any("is back in" in detail for detail in run.error["details"])
    assert service.ask("SELECT count(*) FROM item") == 2000
    assert not service.checkpoints


def test_what_fails_in_service_is_put_back(make):
    service = filled(make(checks=SELDOM_WELL))
    run = service.stack.run("restore", "db", "--yes")
    assert run.code == 1, str(run)
    assert "the swap failed" in run.error["message"]
    assert any("is back in" in detail for detail in run.error["details"])
    assert service.ask("SELECT count(*) FROM item") == 2000
    assert service.timeline == 1
    assert not service.checkpoints
    assert not list((service.state / "checkpoints").glob("*"))
    assert len(service.leftovers) == 1, "what failed is kept to be looked at"
    entries = service.stack.succeed("journal").messages
    assert [(entry["result"], entry["outage_s"] > 0) for entry in entries] == [("put back", True)]
    service.stack.run("restore", "db", "--yes")
    assert len(service.leftovers) == 1, "the next run goes on with it"


def test_a_server_that_does_not_start_is_put_back(make):
    service = filled(make())
    with (service.data / "postgresql.conf").open("a") as file:
        file.write("# fine\n")
    service.stop()
    service.start()
    command = service.binaries.program("pg_ctl")
    stop = [*run_as(service).split(), str(command), "-D", str(service.data), "-m", "fast", "stop"]
    start = f'grep -q fine {service.data}/postgresql.conf && exec "$@" || {{ echo will not; exit 7; }}'
    server = [
        "sh",
        "-c",
        start,
        "sh",
        *run_as(service).split(),
        str(command),
        "-D",
        str(service.data),
        "-l",
        f"{service.place}/log",
        "start",
    ]
    service.stack.service["restore"] = {
        **service.stack.service["restore"],
        "server": {"stop": stop, "start": server},
    }
    service.stack.write()
    run = service.stack.run("restore", "db", "--yes")
    assert run.code == 1, str(run)
    assert any("will not" in detail for detail in run.error["details"])
    assert service.ask("SELECT count(*) FROM item") == 2000
    assert "postgresql.conf comes back" in run.stdout


@pytest.mark.slow
def test_an_interrupt_in_the_middle_puts_everything_back(make):
    service = filled(make())
    pg_ctl = service.place / "start"
    program = f"{run_as(service)} {service.binaries.program('pg_ctl')} -D {service.data}"
    # what is restored takes long to start; the interrupt comes meanwhile
    pg_ctl.write_text(
        f"#!/bin/sh\ntest -e {service.data}/holdfast-restore.json && touch {service.place}/starting && sleep 60\n"
        f"exec {program} -l {service.place}/log start\n"
    )
    pg_ctl.chmod(0o755)
    service.stack.service["restore"] = {
        **service.stack.service["restore"],
        "server": {"stop": [*program.split(), "-m", "fast", "stop"], "start": [str(pg_ctl)]},
    }
    service.stack.write()
    child = service.stack.start("restore", "db", "--yes")
    wait_until((service.place / "starting").exists, timeout_s=60)
    run = kill(child, signal.SIGINT)
    assert run.code == 130, str(run)
    assert service.ask("SELECT count(*) FROM item") == 2000
    assert not service.checkpoints
    assert not (service.state / "swap.json").exists()


def test_a_stop_command_that_does_nothing_changes_nothing(make):
    service = filled(make())
    service.stack.service["restore"] = {
        **service.stack.service["restore"],
        "server": {"stop": ["true"], "start": ["true"]},
        "stop_timeout": "1s",
    }
    service.stack.write()
    pid = server_pid(service)
    run = service.stack.run("restore", "db", "--yes")
    assert run.code == 1, str(run)
    assert "did not stop" in run.error["message"]
    assert server_pid(service) == pid
    assert service.ask("SELECT count(*) FROM item") == 2000


def test_a_server_that_takes_too_long_to_stop_comes_back(make):
    service = filled(make(stop_timeout="1s", start_timeout="90s"))
    archive(service, command=f"test -e {service.place}/held && sleep 4; true")
    (service.place / "held").touch()
    run = service.stack.run("restore", "db", "--yes")
    assert run.code == 1, str(run)
    assert "did not stop within 1 s" in run.error["message"]
    assert "archive_command" in run.error["hint"]
    assert service.ask("SELECT count(*) FROM item") == 2000
    assert not (service.state / "swap.json").exists()


def test_clients_that_take_every_connection_for_a_while_are_no_reason_to_put_back(make):
    service = make()
    with (service.data / "postgresql.conf").open("a") as file:
        file.write("max_connections = 4\nsuperuser_reserved_connections = 1\n")
    service.stop()
    service.start()
    filled(service)
    program = f"{run_as(service)} {service.binaries.program('pg_ctl')} -D {service.data}"
    client = f"psql '{service.conninfo}' -c 'SELECT pg_sleep(9)' &"
    start = f"{program} -l {service.place}/log start && {{ {client * 4} sleep 1; }}"
    server = {"stop": [*program.split(), "-m", "fast", "stop"], "start": ["sh", "-c", start]}
    service.stack.service["restore"] = {**service.stack.service["restore"], "server": server}
    service.stack.write()
    service.stack.succeed("restore", "db", "--yes")
    with (service.place / "log").open() as log:
        assert "too many clients" in log.read()
    assert service.ask("SELECT count(*) FROM item") == 1000


@pytest.fixture
def state_disk(tmp_path):
    """A directory for the state of a service, on a file system of 1 MiB; needs root, as mounting does."""
    place = tmp_path / "state-disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "holdfast-test", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_what_fails_is_put_back_though_the_disk_of_the_state_is_full(make, state_disk):
    state = state_disk / "state"
    fill = f"cat /dev/zero > {state}/ballast 2> /dev/null"
    service = filled(make(state=str(state)))
    stop = f"{run_as(service)} {service.binaries.program('pg_ctl')} -D {service.data} -m fast stop; {fill}; true"
    start = f"{run_as(service)} {service.binaries.program('pg_ctl')} -D {service.data} -l {service.place}/log start"
    restored = f"test -e {service.data}/holdfast-restore.json && exit 7; {start}"
    server = {"stop": ["sh", "-c", stop], "start": ["sh", "-c", restored]}
    service.stack.service["restore"] = {**service.stack.service["restore"], "server": server}
    service.stack.write()
    run = service.stack.run("restore", "db", "--yes")
    assert run.code == 1, str(run)
    assert "the swap failed" in run.error["message"]
    assert "no space left" in " ".join(each["text"] for each in run.messages if each["message_type"] == "warning")
    assert service.ask("SELECT count(*) FROM item") == 2000
    assert not (state / "swap.json").exists()


def test_another_server_answers(make):
    service, other = filled(make()), make()
    service.stack.connections = other.stack.connections
    service.stack.write()
    assert "is not the data directory of the server that answers" in refused(service, 1, "--yes")


def test_a_copy_of_the_cluster_answers(make):
    """After a failover the service's address leads to the new primary, which has the same system identifier."""
    service = filled(make())
    service.stop()
    copy = service.place / "copy"
    subprocess.run(["cp", "-a", service.data, copy], check=True)
    service.start()
    pg_ctl = [*run_as(service).split(), str(service.binaries.program("pg_ctl")), "-D", str(copy), "-w"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    subprocess.run([*pg_ctl, "-o", "-p 5433", "start"], check=True, **quiet)
    try:
        service.stack.connections = {"db": service.conninfo.replace("5432", "5433")}
        service.stack.write()
        assert "is not the data directory of the server that answers" in refused(service, 1, "--yes")
    finally:
        subprocess.run([*pg_ctl, "-m", "immediate", "stop"], check=True, **quiet)


@pytest.mark.parametrize(("typed", "code", "rows"), [("db", 0, 1000), ("DB", 2, 2000), ("", 130, 2000)])
def test_the_name_must_be_typed(service, typed, code, rows):
    ours, theirs = pty.openpty()
    command = [word for word in service.stack.command("restore", "db") if word != "--json"]
    child = subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=service.stack.environment
    )
    os.close(theirs)
    os.write(ours, f"{typed}\n".encode() if typed else b"\x04")
    run = finish(child)
    os.close(ours)
    assert run.code == code, str(run)
    assert "Type its name" in run.stderr
    assert service.ask("SELECT count(*) FROM item") == rows


def test_an_undo_needs_no_repository_and_the_journal_catches_up(service):
    service.stack.succeed("restore", "db", "--yes")
    place = Path(service.stack.place)
    away = place.rename(place.with_name("away"))
    run = service.stack.succeed("restore", "db", "--undo", "--yes")
    assert "journal" in run.message("warning")["text"]
    assert service.ask("SELECT count(*) FROM item") == 2000
    away.rename(place)
    assert len(list((place / "journal").iterdir())) == 1
    service.stack.succeed("restore", "db", "--drop-checkpoint", "--yes")
    assert len(list((place / "journal").iterdir())) == 3
    entries = service.stack.succeed("journal", "db").messages
    assert [(entry["action"], entry["result"]) for entry in entries] == [
        ("restore in place", "done"),
        ("undo", "done"),
        ("drop checkpoint", "done"),
    ]
    assert entries[0]["who"]
    assert "timeline 1" in entries[0]["was"]
    assert "timeline 2" in entries[0]["became"]
    service.stack.check()


def test_an_undo_that_is_done_does_not_fail_who_will_not_wait_for_the_repository(service, tmp_path):
    """To run it again, as an interrupted command says, would take the undo back."""
    service.stack.succeed("restore", "db", "--yes")
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_text("secret")
    s3 = {
        "endpoint": "http://127.0.0.1:1",  # tcpmux: nobody answers, and it is tried again for five minutes
        "allow_http": True,
        "access_key_id": "somebody",
        "secret_access_key": {"file": str(tmp_path / "key")},
    }
    service.stack.repository.update(url="s3://bucket/prefix", s3=s3)
    service.stack.write()
    child = service.stack.start("restore", "db", "--undo", "--yes")
    wait_until(lambda: (service.state / "journal.jsonl").read_text().count('"result":"done"') == 2)
    run = kill(child, signal.SIGINT)
    assert run.code == 0, str(run)
    assert run.message("undone")
    assert "interrupted" in run.message("warning")["text"]
    assert service.ask("SELECT count(*) FROM item") == 2000


@pytest.fixture
def small_disk(tmp_path):
    """A service on a file system of 110 MiB, of which 10 are left; needs root, as mounting does."""
    place = make_shared_directory()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=110m,mode=755", "holdfast-test", place], check=True)
    owner().take_over(place)
    service = make_service(place, tmp_path / "small")
    try:
        service.sql("CREATE TABLE item AS SELECT i AS id FROM generate_series(1, 1000) AS i")
        service.stack.backup()
        service.sql("CREATE TABLE other ()")  # begins the segment of WAL that there will be no room for
        (place / "ballast").write_bytes(bytes(shutil.disk_usage(place).free - (10 << 20)))
        yield service
    finally:
        service.stop("immediate")
        subprocess.run(["umount", "-l", place], check=True)
        place.rmdir()


@pytest.mark.parametrize("option", ["--yes", "--dry-run"])
def test_too_little_space_is_told_before_anything_is_done(small_disk, option):
    names = sorted(small_disk.place.iterdir())
    run = small_disk.stack.run("restore", "db", option)
    assert (run.code, run.error["error"]) == (1, "NoSpaceError"), str(run)
    assert "MiB free; the restore needs" in run.error["message"]
    assert "free some space" in run.error["hint"]
    assert sorted(small_disk.place.iterdir()) == names
    assert not (small_disk.state / "journal.jsonl").exists()
    assert small_disk.ask("SELECT count(*) FROM item") == 1000


def test_what_a_killed_run_left_does_not_take_the_room_of_the_next_one(small_disk):
    (small_disk.place / "ballast").unlink()
    subprocess.run(["mount", "-o", "remount,size=130m", small_disk.place], check=True)  # room for one, and its WAL
    run = small_disk.stack.run("restore", "db", "--yes", HOLDFAST_CRASH_POINT=CrashPoint.SWAP_STAGED)
    assert run.code == -signal.SIGKILL, str(run)
    assert shutil.disk_usage(small_disk.place).free < 38 << 20
    small_disk.stack.succeed("restore", "db", "--yes")
    assert small_disk.timeline == 2


def test_the_plan_tells_what_does_not_come_back(make):
    service = make()
    archive(service)
    service.stack.backup()
    service.sql("SELECT pg_create_physical_replication_slot('of_the_standby')")
    plan = service.stack.succeed("restore", "db", "--dry-run").message("in_place_plan")
    assert plan["notes"] == ["replication slots do not come back: of_the_standby"]
