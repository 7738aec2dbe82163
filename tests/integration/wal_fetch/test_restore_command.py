"""Real servers recover by ``holdfast wal fetch``: a process stays and fetches ahead, and is gone in the end."""

from __future__ import annotations

import os
import shlex
import signal
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from tests.integration.backup_restore.clusters import sql
from tests.integration.backup_restore.stack import StackDirectory, wait_until
from tests.integration.wal_fetch.worlds import count, recovering, require_unpromoted, run_to_its_end, wait_for_promotion
from tests.servers.installation import holdfast_directory
from tests.servers.postgres import account

from holdfast.errors import HoldfastError
from holdfast.repository.identity import render_identity
from holdfast.repository.key_slot import SlotKind
from holdfast.wal.restore_command import NOT_THERE_EXIT, SPOOL_NAME, STOP_EXIT, shared_command


@pytest.fixture
def ended():
    """Collects directories; whoever supplies there after the test is ended by its own id."""
    directories: list[Path] = []
    yield directories
    for directory in directories:
        with suppress(FileNotFoundError):
            os.kill(int((directory / "pg_wal" / SPOOL_NAME / "pid").read_text()), signal.SIGTERM)
        wait_until(lambda at=directory: not (at / "pg_wal" / SPOOL_NAME).exists())


def program(world, *words: str) -> list[str]:
    """Return the command line without file and path, as the servers' account can run it."""
    cache = world.stack.directory / "cache"
    holdfast = holdfast_directory() / "holdfast"
    return [
        "env",
        f"XDG_CACHE_HOME={cache}",
        str(holdfast),
        "-c",
        str(world.stack.config),
        "wal",
        "fetch",
        "db",
        *words,
    ]


def plain(world) -> str:
    """Return the command as an operator writes it."""
    return f'{shlex.join(program(world))} "%f" "%p"'


def quick(world) -> str:
    """Return the command as 'holdfast wal setup' prints it."""
    words = program(world, "--not-there-exit", str(NOT_THERE_EXIT))
    return shared_command(Path("pg_wal") / SPOOL_NAME, words)


@pytest.mark.parametrize("command", [plain, quick])
def test_recovery_reaches_the_last_stored_byte_and_nothing_stays_behind(world, ended, command):
    world.give_away()
    directory = world.copy("copy", {"restore_command": command(world)})
    ended.append(directory)
    with recovering(world.server(directory)) as server:
        wait_for_promotion(server)
        assert count(server) == world.rows
        wait_until(lambda: not list((directory / "pg_wal").glob("holdfast*")))


def refused(world, ended, command: str) -> str:
    """Start a server whose recovery must stop; return its log."""
    directory = world.copy("copy", {"restore_command": command})
    ended.append(directory)
    log = run_to_its_end(world.server(directory))
    require_unpromoted(directory)
    return log


def test_without_a_repository_recovery_stops(world, ended):
    world.give_away()
    world.stack.place.rename(world.stack.place.with_name("away"))
    assert "there is no repository at" in refused(world, ended, plain(world))


def test_with_a_writers_credential_recovery_stops(world, ended):
    added = world.stack.succeed("key", "add", "--writer").message("key_added")
    credential = next(value for value in added.values() if str(value).startswith("HOLDFAST-WRITER"))
    (world.stack.directory / "identity").write_text(credential)
    world.give_away()
    log = refused(world, ended, quick(world))
    assert "needs an owner's key" in log
    assert "HINT: recover with a stack file" in log


def test_with_a_wrong_key_recovery_stops(world, ended):
    (world.stack.directory / "identity").write_text(render_identity(bytes(32), SlotKind.RECOVERY))
    world.give_away()
    assert "key" in refused(world, ended, plain(world))


def test_a_wrong_command_line_stops_recovery(world, ended):
    world.give_away()
    words = program(world)
    for wrong in ([*words, "--nonsense"], [*words[:4], "/nonexistent.yaml", *words[5:]], [*words[:-1], "nobody"]):
        refused(world, ended, f'{shlex.join(wrong)} "%f" "%p"')
        (world.directory / "copy").rename(world.directory / f"copy-{len(list(world.directory.iterdir()))}")
    assert refused(world, ended, "/nonexistent/holdfast wal fetch db %f %p")


def test_fault_04_the_archive_of_another_cluster_is_no_end_of_wal(world, ended):
    """The repository is right, but it holds the WAL of another system identifier only."""
    world.give_away()
    wal = world.stack.place / "wal"
    (wal / world.system_identifier).rename(wal / "7000000000000000001")
    log = refused(world, ended, plain(world))
    assert f"no WAL of the cluster with the system identifier {world.system_identifier}" in log


@pytest.mark.parametrize(
    "point", ["fetch.received", pytest.param("fetch.written", marks=pytest.mark.slow), "fetch.ready", "fetch.answering"]
)
def test_a_killed_supplier_is_replaced(world, ended, point):
    """Each one dies at its fifth passing, the next takes over; what it laid ready was whole."""
    world.give_away()
    command = f"HOLDFAST_CRASH_POINT={point}:5; export HOLDFAST_CRASH_POINT; {quick(world)}"
    directory = world.copy("copy", {"restore_command": command})
    ended.append(directory)
    for _ in range(20):
        server = world.server(directory)
        try:
            with recovering(server):
                wait_for_promotion(server)
                assert count(server) == world.rows
                break
        except (HoldfastError, psycopg.OperationalError):  # it may answer already before it gives up
            assert (directory / "recovery.signal").exists()
    else:
        pytest.fail("recovery never came to its end")


def test_a_standby_follows_what_comes_later_and_is_promoted(world, ended):
    world.give_away()
    last = world.segments()[-1]
    held = world.stored(last).read_bytes()
    pieces = list(world.stored(last).parent.glob("*.piece-*"))
    kept = [path.read_bytes() for path in pieces]
    for path in (world.stored(last), *pieces):
        path.unlink()
    directory = world.copy(
        "copy", {"restore_command": plain(world), "wal_retrieve_retry_interval": "200ms"}, signal="standby.signal"
    )
    ended.append(directory)
    with recovering(world.server(directory)) as server:
        pid = int(wait_for_file(directory / "pg_wal" / SPOOL_NAME / "pid"))
        for path, content in zip((*pieces, world.stored(last)), (*kept, held), strict=True):
            path.write_bytes(content)
            os.chown(path, account().uid, account().gid)
        wait_until(lambda: count_if_there(server) == world.rows)
        assert int((directory / "pg_wal" / SPOOL_NAME / "pid").read_text()) == pid
        sql(server, "SELECT pg_promote()")
        wait_until(lambda: not (directory / "pg_wal" / SPOOL_NAME).exists())


@pytest.mark.parametrize("command", [plain, quick])
def test_a_standby_outlives_a_repository_that_is_away(world, ended, command):
    world.give_away()
    last = world.stored(world.segments()[-1])
    later = [last, *last.parent.glob("*.piece-*")]
    settings = {"restore_command": command(world), "wal_retrieve_retry_interval": "200ms"}
    hidden = [path.rename(path.with_name(f"~{path.name}")) for path in later]
    directory = world.copy("copy", settings, signal="standby.signal")
    ended.append(directory)
    with recovering(world.server(directory)) as server:
        wait_until(lambda: 0 < count_if_there(server) < world.rows)
        place = world.stack.place.rename(world.stack.place.with_name("away"))
        wait_until(lambda: server.log().count("no longer the directory that it was") > 3)
        os.kill(int((directory / "pg_wal" / SPOOL_NAME / "pid").read_text()), signal.SIGTERM)
        wait_until(lambda: "there is no repository at" in server.log())
        assert server.is_running
        place.rename(world.stack.place)
        for path, name in zip(hidden, later, strict=True):
            path.rename(name)
        wait_until(lambda: count_if_there(server) == world.rows)


def wait_for_file(path: Path) -> str:
    """Return what is in a file as soon as it is there."""
    wait_until(lambda: path.exists() and path.read_text())
    return path.read_text()


def count_if_there(server) -> int:
    """Count rows on a standby that may not have the table yet."""
    try:
        return count(server)
    except psycopg.errors.UndefinedTable:
        return 0


def test_a_person_fetches_a_file(world, tmp_path):
    stack: StackDirectory = world.stack
    name = world.segments()[0]
    said = stack.succeed("wal", "fetch", "db", name, tmp_path / name).message("wal_fetched")
    assert (said["outcome"], said["size_bytes"]) == ("ready", 1 << 20)
    assert (tmp_path / name).read_bytes() == world.archive.get(name)
    said = stack.succeed("wal", "fetch", "db", world.last_name, tmp_path / "last").message("wal_fetched")
    assert (said["outcome"], said["size_bytes"]) == ("part", world.last_bytes)
    assert (tmp_path / "last").stat().st_size == 1 << 20
    run = stack.run("wal", "fetch", "db", "00000002.history", tmp_path / "history")
    assert (run.code, run.message("wal_fetched")["outcome"]) == (1, "absent")
    assert stack.run("wal", "fetch", "db", "00000002.history", tmp_path / "h", "--not-there-exit", "7").code == 7
    for wrong in (
        ["nobody", name, tmp_path / "x"],
        ["db", "../x", tmp_path / "x"],
        ["db", name, "/nonexistent/x"],
        ["db"],
    ):
        assert stack.run("wal", "fetch", *wrong).code == STOP_EXIT
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, "last"]
