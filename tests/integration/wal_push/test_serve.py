"""The resident process on a real server: ahead of ``archive_command``, modest, and never missed when it is gone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.backup_restore.stack import wait_until
from tests.integration.wal_push.archiving import TIMEOUT_S
from tests.servers.postgres import account

from holdfast import clock
from holdfast.crashpoint import CrashPoint
from holdfast.errors import ExitCode

IDLE_KIB = 60 * 1024


@pytest.fixture
def idle_archiving(kept):
    """The module's cluster with an ``archive_command`` that waits until a test says otherwise."""
    kept.archive_by("false")
    yield kept
    kept.archive_by(f"{kept.spool}/archive %p %f")
    wait_until(lambda: not kept.status(".ready"), timeout_s=60)
    kept.require_truthful()


def test_it_ships_ahead_and_the_script_only_looks(idle_archiving):
    shop = idle_archiving
    with shop.serving() as process:
        names = shop.write(5)
        wait_until(lambda: all(shop.is_acknowledged(name) for name in names))
        assert set(names) <= shop.archived()
        process.send_signal(signal.SIGSTOP)  # whatever answers now is the acknowledgement alone
        try:
            assert [shop.ask_script(name).returncode for name in names] == [0] * 5
            assert not has_waited_in_vain(shop)
        finally:
            process.send_signal(signal.SIGCONT)
        process.terminate()
        assert process.wait(TIMEOUT_S) == 0
    assert shop.serve_log()[-1] == "stopped"


def test_the_server_archives_through_it(kept):
    with kept.serving() as process:
        kept.wait_archived(kept.write(5))
        assert process.poll() is None


def test_it_is_waited_for_as_soon_as_it_has_shipped_one_file_of_many(idle_archiving):
    shop = idle_archiving
    names = shop.write(12)
    later = f"{CrashPoint.PUSH_ACKNOWLEDGED}:{shop.settings.threads + 2}"  # by a thread that has taken its second file
    with shop.serving(HOLDFAST_CRASH_POINT=later) as process:
        assert process.wait(TIMEOUT_S) == -signal.SIGKILL
    assert not all(shop.is_acknowledged(name) for name in names), "the first batch was not done"
    assert (shop.spool / "serve.pid").read_text().split()[2] == "shipping"


def test_when_it_was_killed_the_script_pushes_by_itself(idle_archiving):
    shop = idle_archiving
    with shop.serving() as process:
        shop.wait_shipping(process)
        process.kill()
        process.wait()
        (name,) = shop.write(1)
        assert shop.ask_script(name).returncode == 0
        assert not has_waited_in_vain(shop)
    assert name in shop.archived()


def test_a_number_that_another_process_has_now_is_not_waited_for(idle_archiving):
    shop = idle_archiving
    with shop.serving() as process:
        shop.wait_shipping(process)
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (shop.spool / "serve.pid").write_text(f"{other.pid} 1 shipping\n")
        (name,) = shop.write(1)
        assert shop.ask_script(name).returncode == 0
        assert not has_waited_in_vain(shop)
    finally:
        other.communicate(b"\n")
        (shop.spool / "serve.pid").write_text("")
    assert name in shop.archived()


@pytest.mark.slow
def test_one_that_hangs_is_waited_for_once_and_for_a_while(idle_archiving):
    shop = idle_archiving
    with shop.serving() as process:
        shop.wait_shipping(process)
        process.send_signal(signal.SIGSTOP)
        try:
            first, second = shop.write(2)
            began = clock.monotonic()
            assert shop.ask_script(first).returncode == 0
            assert clock.monotonic() - began > 9
            assert has_waited_in_vain(shop)
            (third,) = shop.write(1)
            began = clock.monotonic()
            assert shop.ask_script(third).returncode == 0
            assert clock.monotonic() - began < 9
            assert {first, third} <= shop.archived()  # what waits besides is left to who began with it
        finally:
            process.send_signal(signal.SIGCONT)
        wait_until(lambda: not has_waited_in_vain(shop))
        wait_until(lambda: second in shop.archived())  # it says that it lives before it ships


def test_an_acknowledgement_of_another_life_answers_nothing(idle_archiving):
    shop = idle_archiving
    (name,) = shop.write(1)
    path = shop.wal_directory / name
    acknowledgement = shop.spool / "ack" / shop.settings.repository_id / name
    acknowledgement.parent.mkdir(parents=True, exist_ok=True)
    modified = path.stat().st_mtime_ns
    for stale in (modified + 1, modified - 1, modified + 10**9, modified - 10**12):
        acknowledgement.touch()
        os.utime(acknowledgement, ns=(stale, stale))
        account().take_over(acknowledgement)
        assert _looked(shop, name) == "not there", stale
    os.utime(acknowledgement, ns=(modified, modified))
    assert _looked(shop, name) == "acknowledged"
    path.rename(path.with_suffix(".aside"))
    assert _looked(shop, name) == "not there"
    path.with_suffix(".aside").rename(path)
    acknowledgement.unlink()  # a lie: nothing was stored


def test_it_outlives_the_repository_and_says_each_change_once(idle_archiving):
    shop = idle_archiving
    log = shop.directory / "serve.log"
    log.unlink(missing_ok=True)
    with shop.serving() as process:
        (name,) = shop.write(1)
        wait_until(lambda: shop.is_acknowledged(name), timeout_s=TIMEOUT_S)
        away = shop.repository.with_name("elsewhere")
        os.rename(shop.repository, away)
        try:
            names = shop.write(2)
            wait_until(lambda: any("cannot ship" in line for line in shop.serve_log()), timeout_s=TIMEOUT_S)
            clock.sleep(2)  # several attempts
            assert shop.resident().endswith("failing\n")
        finally:
            os.rename(away, shop.repository)
        # it looks again after 15 s at the latest
        wait_until(lambda: all(shop.is_acknowledged(each) for each in names), timeout_s=TIMEOUT_S)
        assert process.poll() is None
    lines = shop.serve_log()
    assert sum("cannot ship" in line for line in lines) <= 2, lines
    assert sum("shipping again" in line for line in lines) == 1, lines


def test_it_outlives_the_server(kept):
    with kept.serving() as process:
        kept.wait_archived(kept.write(1))
        kept.cluster.restart()
        kept.stack.connections = {"db": kept.cluster.conninfo()}
        kept.wait_archived(kept.write(2))
        assert process.poll() is None


def test_a_second_one_is_refused(idle_archiving):
    shop = idle_archiving
    with shop.serving() as process:
        shop.wait_shipping(process)
        answer = shop.run("wal", "serve", "db", "--settings", str(shop.spool / "settings"))
        assert answer.returncode == ExitCode.BUSY
        assert "HINT" in answer.stderr


def test_one_whose_spool_was_taken_away_ends_and_leaves_the_next_one_alone(idle_archiving):
    """Nobody would find it, and archive_command would push by itself for as long as it lives."""
    shop = idle_archiving
    with shop.serving() as process:
        shop.wait_shipping(process)
        shop.spool.rename(shop.spool.with_name("taken"))
        assert process.wait(TIMEOUT_S) == ExitCode.FAILED
    assert "no such file or directory" in shop.serve_log()[-2]
    assert "HINT" in shop.serve_log()[-1]
    shop.set_up()
    shop.archive_by("false")
    with shop.serving() as process:
        shop.wait_shipping(process)
        (shop.spool / "wake").rename(shop.spool / "lost")
        assert process.wait(TIMEOUT_S) == ExitCode.FAILED


def test_a_refused_file_does_not_hold_up_the_others(idle_archiving):
    shop = idle_archiving
    bad, good = shop.write(2)
    path = shop.wal_directory / bad
    whole, times = path.read_bytes(), path.stat()
    path.write_bytes(whole[:-1])
    with shop.serving():
        wait_until(lambda: shop.is_acknowledged(good))
        assert not shop.is_acknowledged(bad)
        wait_until(lambda: shop.resident().endswith("failing\n"))  # it is said after what went well
        assert bad not in shop.archived()
    path.write_bytes(whole)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_it_is_modest_when_there_is_nothing_to_do(make_archiving):
    shop = make_archiving(segment_mib=16)
    shop.archive_by("false")
    with shop.serving() as process:
        names = shop.write(6)
        wait_until(lambda: all(shop.is_acknowledged(name) for name in names))
        assert any(_is_modest(process.pid) for _ in range(5)), "it does not come to rest"
        assert _resident_kib(process.pid) <= IDLE_KIB


def test_acknowledgements_go_when_their_files_are_gone(kept):
    names = kept.write(3)
    kept.wait_archived(names)
    place = kept.spool / "ack" / kept.settings.repository_id
    place.mkdir(parents=True, exist_ok=True)
    (place / "0000000100000000000000EE").touch()
    kept.wait_archived(kept.write(1))
    assert not (place / "0000000100000000000000EE").exists()


def has_waited_in_vain(shop) -> bool:
    """Whether the script has waited for the resident process for as long as it ever does, and said so."""
    return (shop.spool / "stuck").exists()


def _looked(shop, name: str) -> str:
    """Return what the script finds in the spool: it is cut off before it would push."""
    text = re.sub(r"(?m)^exec .*", "exit 77", (shop.spool / "archive").read_text())
    command = ["/bin/sh", "-s", f"pg_wal/{name}", name]
    code = subprocess.run(command, input=text, text=True, check=False, cwd=shop.cluster.data_directory).returncode
    return {0: "acknowledged", 77: "not there"}[code]


def _is_modest(pid: int) -> bool:
    """Whether a process uses less than a hundredth of a core, for three seconds."""
    before = _ticks(pid)
    clock.sleep(3)
    return _ticks(pid) - before <= 3


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return int(fields[11]) + int(fields[12])


def _resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
