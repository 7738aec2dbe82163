"""Commands in orders that nobody means: beside one another, after somebody's own hands, after the world has changed."""

import json
import shutil
import subprocess

import pytest
from tests.integration.backup_restore.stack import finish, wait_until
from tests.integration.in_place.services import owner
from tests.integration.in_place.test_kills import killed, require_tidy, rows, servers_in, spread_out

from holdfast.config.load import load_stack
from holdfast.crashpoint import CrashPoint
from holdfast.errors import HoldfastError
from holdfast.operations.in_place.drop import drop, prepare_drop
from holdfast.operations.in_place.undo import prepare_undo, undo
from holdfast.progress import Silence

UNDO = ("restore", "db", "--undo", "--yes")
DROP = ("restore", "db", "--drop-checkpoint", "--yes")


@pytest.fixture
def restored(make):
    """A service with a tablespace, restored in place: 1,000 rows in each table, and one checkpoint with 1,001."""
    service = spread_out(make())
    service.stack.succeed("restore", "db", "--yes")
    return service


def refused(service, arguments, words, code=2):
    run = service.stack.run(*arguments)
    assert (run.code, words in run.error["message"]) == (code, True), str(run)
    return run.error["hint"]


def test_an_undo_that_waited_for_an_answer_while_a_swap_was_cut_off_is_refused(restored):
    """It would write its own intent over that of the swap, and nothing would know any more where everything is."""
    prepared = prepare_undo(load_stack(restored.stack.config), "db")
    killed(restored, f"{CrashPoint.SWAP_STEP_DONE}:3", "restore", "db", "--yes")
    with pytest.raises(HoldfastError, match="an earlier swap of this service was cut off"):
        undo(prepared, Silence())
    restored.stack.succeed("restore", "db", "--yes")
    assert rows(restored) == (1000, 1000)
    require_tidy(restored, 2)


def test_a_drop_that_waited_for_an_answer_while_an_undo_took_the_checkpoint_is_refused(restored):
    prepared = prepare_drop(load_stack(restored.stack.config), "db")
    restored.stack.succeed(*UNDO)
    with pytest.raises(HoldfastError, match="another run changed the checkpoints meanwhile"):
        drop(prepared, Silence())
    assert rows(restored) == (1001, 1001)
    require_tidy(restored, 1)


def test_a_checkpoint_that_somebody_started_to_look_into_it_is_neither_exchanged_nor_deleted(restored):
    (kept,) = restored.checkpoints
    pg_ctl = [str(restored.binaries.program("pg_ctl")), "-D", str(kept), "-w"]
    identity = {"cwd": "/", **owner().child_identity()}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*pg_ctl, "-o", "-p 5433", "start"], check=True, **quiet, **identity)
    try:
        for command in (UNDO, DROP):
            assert "stop it first" in refused(restored, command, f"in use by the running server of {kept}")
        assert servers_in(kept)
        assert rows(restored) == (1000, 1000)
    finally:
        subprocess.run([*pg_ctl, "-m", "immediate", "stop"], check=True, **quiet, **identity)
    restored.stack.succeed(*UNDO)
    assert rows(restored) == (1001, 1001)


@pytest.mark.parametrize("is_up", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_checkpoint_that_was_moved_back_by_hand_keeps_its_tablespaces(restored, is_up):
    """Its data directory is where it belongs, and its links lead to where its tablespaces were parked."""
    (kept,) = restored.checkpoints
    restored.stop()
    restored.data.rename(restored.place / "spoilt")
    kept.rename(restored.data)
    restored.start()
    if not is_up:
        restored.stop()
    hint = refused(restored, DROP, f"{restored.place / 'fast'}/holdfast-checkpoint-")
    refused(restored, UNDO, "is not whole", code=1)
    if not is_up:
        restored.start()
    assert rows(restored) == (1001, 1001)
    if not is_up:
        (record,) = (restored.state / "checkpoints").iterdir()
        assert str(record) in hint


def test_the_newest_checkpoint_is_meant_though_the_clock_was_set_back(restored):
    restored.sql("INSERT INTO item VALUES (-1)")
    (older,) = (restored.state / "checkpoints").iterdir()
    record = json.loads(older.read_text())
    older.write_text(json.dumps({**record, "made": "2099-01-01T00:00:00.000+00:00"}))
    restored.stack.succeed("restore", "db", "--yes")
    restored.stack.succeed(*UNDO)
    assert rows(restored) == (1001, 1000)


def test_a_server_that_follows_another_one_by_now_is_left_alone(restored):
    """After a failover it is a standby: what was there before would be a second primary."""
    signal = restored.data / "standby.signal"
    signal.touch()
    hint = refused(restored, UNDO, "is a standby now")
    assert "a second one beside it" in hint
    signal.unlink()
    restored.stack.service["restore"]["checks"] = {"postgres": ["SELECT pg_sleep(5) IS NOT NULL"]}
    restored.stack.write()
    child = restored.stack.start("restore", "db", "--yes")
    wait_until(lambda: any(servers_in(staged) for staged in restored.leftovers))
    signal.touch()
    run = finish(child)
    assert (run.code, "is a standby" in run.error["message"]) == (2, True), str(run)
    assert rows(restored) == (1000, 1000)
    assert len(restored.checkpoints) == 1


def test_a_swap_that_never_began_is_given_up_where_the_server_follows_another_one_by_now(restored):
    killed(restored, CrashPoint.SWAP_INTENDED, "restore", "db", "--yes")
    signal = restored.data / "standby.signal"
    signal.touch()
    started = restored.ask("SELECT pg_postmaster_start_time()::text")
    refused(restored, ("restore", "db", "--yes"), "is a standby")
    assert restored.ask("SELECT pg_postmaster_start_time()::text") == started
    assert not (restored.state / "swap.json").exists()
    signal.unlink()
    restored.stack.succeed(*UNDO)
    assert rows(restored) == (1001, 1001)


def test_a_checkpoint_does_not_come_back_to_a_place_that_the_service_has_left(restored):
    restored.stop()
    moved = restored.place / "moved"
    restored.data.rename(moved)
    restored.stack.service["data_directory"] = str(moved)
    restored.stack.write()
    assert "data_directory" in refused(restored, UNDO, f"the service is in {moved} now")
    restored.data.symlink_to(moved)  # a link, as people leave it for what knows the old place
    restored.start()
    restored.stack.succeed(*UNDO)
    assert rows(restored) == (1001, 1001)
    assert restored.data.is_symlink()


def test_a_checkpoint_on_another_disk_than_the_service_by_now_stays_where_it_is(other_disk, restored):
    restored.stop()
    subprocess.run(["cp", "-a", restored.data, other_disk.parent], check=True)
    restored.data.rename(restored.place / "old")
    restored.data.symlink_to(other_disk.parent / "data")
    restored.start()
    started = restored.ask("SELECT pg_postmaster_start_time()::text")
    hint = refused(restored, UNDO, f"is on another file system than {other_disk.parent}")
    assert "moved to another disk" in hint
    assert restored.ask("SELECT pg_postmaster_start_time()::text") == started


def test_a_checkpoint_whose_record_is_lost_is_named(restored):
    (kept,) = restored.checkpoints
    lost = restored.state.rename(restored.state.with_name("lost"))
    assert "restore.state" in refused(restored, UNDO, f"{kept} is a checkpoint, but {restored.state} knows nothing")
    restored.stack.succeed("restore", "db", "--yes")  # goes its own way, and keeps both
    assert kept in restored.checkpoints
    assert rows(restored) == (1000, 1000)
    restored.stack.succeed(*DROP)
    assert restored.checkpoints == [kept]
    shutil.rmtree(restored.state)
    lost.rename(restored.state)
    restored.stack.succeed(*UNDO)
    assert rows(restored) == (1001, 1001)
