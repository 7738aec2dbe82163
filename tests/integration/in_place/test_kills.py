"""SIGKILL at every point of a swap: the next run finishes it, ``--undo`` turns it back, and nothing is ever lost."""

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from tests.integration.backup_restore.stack import finish, kill, wait_until
from tests.integration.in_place.services import archive, owner

from holdfast.crashpoint import CrashPoint
from holdfast.postgres.initdb import ClusterOptions, create_cluster

BEFORE_INTENT = [CrashPoint.SWAP_STAGED, CrashPoint.SWAP_RECOVERED, CrashPoint.SWAP_PROVEN]
WHILE_STAGING = [
    CrashPoint.RESTORE_MARKED,
    CrashPoint.RESTORE_SPAN_WRITTEN,
    CrashPoint.RESTORE_CONTENT_WRITTEN,
    *BEFORE_INTENT,
]
STEPS = range(1, 7)
"""Of a swap with one tablespace: the data directory goes, the tablespace and its link, and the same for what comes."""
DURING = [
    CrashPoint.SWAP_INTENDED,
    CrashPoint.SWAP_STOPPED,
    *(f"{CrashPoint.SWAP_STEP_DONE}:{passing}" for passing in STEPS),
    CrashPoint.SWAP_STARTED,
    CrashPoint.SWAP_CHECKED,
    CrashPoint.SWAP_RECORDED,
    f"{CrashPoint.SWAP_RECORDED}:2",
]
BACKWARD = [
    CrashPoint.SWAP_TURNED_BACK,
    *(f"{CrashPoint.SWAP_STEP_UNDONE}:{passing}" for passing in STEPS),
    CrashPoint.SWAP_PUT_BACK,
]
DROPPING = [CrashPoint.DROP_BEGUN, CrashPoint.DROP_DELETED]


def test_every_crash_point_has_its_test():
    visited = {CrashPoint(point.partition(":")[0]) for point in (*BEFORE_INTENT, *DURING, *BACKWARD, *DROPPING)}
    own = {point for point in CrashPoint if point.value.startswith(("swap.", "drop."))}
    assert visited | {CrashPoint.SWAP_FINISHED} == own


SELDOM_WELL = {"postgres": ["SELECT current_setting('unix_socket_directories') LIKE '/tmp/holdfast-pg-%'"]}
"""A check that is content with the staged cluster, on its private socket, and not with the one in service."""
SLEEPY = {"postgres": ["SELECT pg_sleep(120) IS NOT NULL"]}


def spread_out(service):
    """Fill a service with rows in two tablespaces, back it up, and add a row to each since."""
    place = service.place / "fast"
    place.mkdir()
    owner().take_over(place)
    service.sql(
        f"CREATE TABLESPACE fast LOCATION '{place}'",
        "CREATE TABLE item AS SELECT i AS id FROM generate_series(1, 1000) AS i",
        "CREATE TABLE far (id int) TABLESPACE fast",
        "INSERT INTO far SELECT i FROM generate_series(1, 1000) AS i",
    )
    service.stack.backup()
    service.sql("INSERT INTO item VALUES (0)", "INSERT INTO far VALUES (0)")
    return service


def servers_in(directory):
    """The processes of servers that run in a directory, though it may be deleted by now."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.readlink(process / "cwd").removesuffix(" (deleted)") == str(directory):
                found.append(process.name)
    return found


def killed(service, point, *arguments):
    run = service.stack.run(*arguments, HOLDFAST_CRASH_POINT=str(point))
    assert run.code == -signal.SIGKILL, f"{point} was not reached: {run}"


def require_tidy_tablespace(service, others):
    """The tablespace holds its one version, and besides what is named."""
    names = {path.name for path in (service.place / "fast").iterdir()}
    assert {name for name in names if not name.startswith("PG_15")} == set(others)


def rows(service):
    return service.ask("SELECT count(*) FROM item"), service.ask("SELECT count(*) FROM far")


def records(service):
    return list((service.state / "checkpoints").glob("*.json"))


def require_tidy(service, checkpoints):
    """No directory is left over, and none is missing."""
    assert len(service.checkpoints) == checkpoints
    assert not service.leftovers
    names = sorted(path.name for path in (service.place / "fast").iterdir())
    assert [name.startswith("PG_15") for name in names].count(True) == 1
    assert len(names) == 1 + checkpoints
    assert len(records(service)) == checkpoints
    assert not (service.state / "swap.json").exists()


def kill_and_finish(service, point):
    killed(service, point, "restore", "db", "--yes")
    assert (service.state / "swap.json").exists()
    status = service.stack.run("status")
    alert = next(each for each in status.message("service_status")["alerts"] if each["kind"] == "unfinished swap")
    assert status.code == 3
    assert "swap of the restore in place begun 20" in alert["words"]
    assert "'holdfast restore db' finishes it" in alert["remedy"]
    assert alert["remedy"].endswith(", 'holdfast restore db --undo' turns it back")
    assert service.stack.run("restore", "db", "--drop-checkpoint", "--yes").code == 1
    service.stack.succeed("restore", "db", "--yes")
    assert rows(service) == (1000, 1000)
    require_tidy(service, 1)
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert rows(service) == (1001, 1001)
    require_tidy(service, 1)
    service.stack.succeed("restore", "db", "--drop-checkpoint", "--yes")


def kill_and_turn_back(service, point):
    killed(service, point, "restore", "db", "--yes")
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert rows(service) == (1001, 1001)
    assert not service.checkpoints
    assert not records(service)


def kill_on_the_way_back(service, point):
    killed(service, point, "restore", "db", "--yes")
    alerts = service.stack.run("status").message("service_status")["alerts"]
    assert any(each["words"].startswith("turning back the swap") for each in alerts)
    done = service.stack.succeed("restore", "db", "--yes").message("swap_finished")
    assert done["is_turned_back"]
    assert rows(service) == (1001, 1001)
    assert not service.checkpoints
    assert not records(service)


def some_of(points):
    return [point if point in SOME else pytest.param(point, marks=pytest.mark.slow) for point in points]


SOME = {
    CrashPoint.RESTORE_MARKED,
    CrashPoint.SWAP_RECOVERED,
    f"{CrashPoint.SWAP_STEP_DONE}:1",
    f"{CrashPoint.SWAP_STEP_DONE}:4",
    f"{CrashPoint.SWAP_STEP_UNDONE}:3",
    CrashPoint.DROP_BEGUN,
}
"""The points that the ordinary suite visits; the slow one visits all."""


def rewritten_bytes(run):
    """What a run that went on with a leftover had to write, at most; None where it restored all files anew."""
    phases = {each["phase"]: each for each in run.messages if each["message_type"] == "progress"}
    return phases["rewriting what differs"]["total_bytes"] if "restoring files" not in phases else None


@pytest.mark.parametrize("point", some_of(WHILE_STAGING))
def test_before_anything_is_touched_and_the_next_run_goes_on_with_what_was_staged(make, point):
    service = spread_out(make())
    killed(service, point, "restore", "db", "--yes")
    assert rows(service) == (1001, 1001)
    (staged,) = service.leftovers
    assert bool(servers_in(staged)) == (point is CrashPoint.SWAP_RECOVERED)
    plan = service.stack.succeed("restore", "db", "--dry-run").message("in_place_plan")
    assert any(f"{staged} is gone on with" in note for note in plan["notes"])
    assert plan["staging"][0] == str(staged)
    run = service.stack.succeed("restore", "db", "--yes")
    rewritten = rewritten_bytes(run)
    if point in BEFORE_INTENT:
        assert rewritten < plan["size_bytes"] / 2
    assert rewritten is not None
    assert not servers_in(staged)
    assert rows(service) == (1000, 1000)
    require_tidy(service, 1)
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert rows(service) == (1001, 1001)


def test_what_was_staged_is_shown_and_deleted_when_it_is_not_wanted(make):
    service = spread_out(make())
    killed(service, CrashPoint.SWAP_RECOVERED, "restore", "db", "--yes")
    (staged,) = service.leftovers
    status = service.stack.run("status").message("service_status")
    assert status["staged"]["directory"] == str(staged)
    plan = service.stack.succeed("restore", "db", "--drop-checkpoint", "--dry-run").message("drop_plan")
    assert (plan["checkpoints"], plan["staged"][0]) == ([], str(staged))
    service.stack.succeed("restore", "db", "--drop-checkpoint", "--yes")
    assert not servers_in(staged)
    require_tidy(service, 0)
    assert service.stack.run("status").message("service_status")["staged"] is None
    assert rows(service) == (1001, 1001)
    assert service.stack.run("restore", "db", "--drop-checkpoint", "--yes").code == 2


def interrupted(service, number):
    """Break a restore off by a signal, when its staged server runs; return what it said, and where it staged."""
    service.stack.service["restore"] = {**service.stack.service["restore"], "checks": SLEEPY}
    service.stack.write()
    child = service.stack.start("restore", "db", "--yes")
    wait_until(lambda: any(servers_in(staged) for staged in service.leftovers))
    run = kill(child, number)
    service.stack.service["restore"].pop("checks")
    service.stack.write()
    (staged,) = service.leftovers
    assert run.code == 130, str(run)
    assert f"what was staged stays in {staged}" in run.error["message"]
    assert not servers_in(staged)
    return run, staged


def test_interrupted_while_staging_the_next_run_goes_on(make):
    service = spread_out(make())
    _, staged = interrupted(service, signal.SIGINT)
    assert rows(service) == (1001, 1001)
    require_tidy_tablespace(service, [f"holdfast-staging-{staged.name[-8:]}"])
    run = service.stack.succeed("restore", "db", "--yes")
    assert rewritten_bytes(run) is not None
    assert run.message("restored_in_place")["staging"][0] == str(staged)
    assert rows(service) == (1000, 1000)
    require_tidy(service, 1)


def test_what_an_interrupted_run_had_staged_is_deleted_and_no_checkpoint_with_it(make):
    service = spread_out(make())
    service.stack.succeed("restore", "db", "--yes")
    run, staged = interrupted(service, signal.SIGTERM)
    drop = run.error["hint"].split("'")[1].split()
    assert drop[:4] == ["holdfast", "restore", "db", "--drop-checkpoint"]
    plan = service.stack.succeed(*drop[1:], "--dry-run").message("drop_plan")
    assert (plan["checkpoints"], plan["staged"][0]) == ([], str(staged))
    service.stack.succeed(*drop[1:], "--yes")
    require_tidy(service, 1)
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert rows(service) == (1001, 1001)
    assert service.stack.run(*drop[1:], "--yes").code == 2


def test_a_leftover_in_another_place_is_deleted_first(make):
    service = spread_out(make())
    killed(service, CrashPoint.SWAP_STAGED, "restore", "db", "--yes")
    (staged,) = service.leftovers
    elsewhere = service.place / "elsewhere"
    elsewhere.mkdir()
    service.stack.service["restore"] = {**service.stack.service["restore"], "staging": str(elsewhere)}
    service.stack.write()
    plan = service.stack.succeed("restore", "db", "--dry-run").message("in_place_plan")
    assert any(f"{staged} is deleted first" in note for note in plan["notes"])
    assert staged.exists()
    service.stack.succeed("restore", "db", "--yes")
    assert rows(service) == (1000, 1000)
    require_tidy(service, 1)


@pytest.mark.slow
def test_what_was_staged_stays_when_the_repository_goes_away(service):
    repository, away = service.place / "repository", service.place / "away"
    service.sql("CREATE TABLE bulk AS SELECT md5(i::text) FROM generate_series(1, 300000) AS i")
    service.stack.backup()
    service.sql("DROP TABLE bulk")
    service.stack.repository.update(limits={"download": "2MiB"}, retry_deadline="1s")
    service.stack.write()
    child = service.stack.start("restore", "db", "--yes")
    wait_until(lambda: any((left / "base").exists() for left in service.leftovers), timeout_s=60)
    repository.rename(away)
    run = finish(child)
    assert run.code == 1, str(run)
    assert any("the same command goes on with it" in each.get("text", "") for each in run.messages)
    away.rename(repository)
    (staged,) = service.leftovers
    service.stack.repository.pop("limits")
    service.stack.write()
    run = service.stack.succeed("restore", "db", "--yes")
    assert rewritten_bytes(run) is not None
    assert run.message("restored_in_place")["staging"][0] == str(staged)
    assert service.ask("SELECT count(*) FROM bulk") == 300_000
    assert not service.leftovers


def test_a_directory_that_something_made_meanwhile_does_not_pass_for_what_was_in_service(service):
    killed(service, f"{CrashPoint.SWAP_STEP_DONE}:1", "restore", "db", "--yes")
    create_cluster(service.binaries, service.data, ClusterOptions(), owner())  # as a container's entry point does
    for arguments in (["--undo"], []):
        run = service.stack.run("restore", "db", "--yes", *arguments)
        assert run.code == 1, str(run)
        assert f"something else has made {service.data}" in run.error["message"]
        assert (service.state / "swap.json").exists()
    shutil.rmtree(service.data)
    service.stack.succeed("restore", "db", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 1000
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 2000


@pytest.mark.parametrize("point", some_of(DURING))
def test_the_next_run_finishes_the_swap(make, point):
    kill_and_finish(spread_out(make()), point)


def notices(run):
    return [each["text"] for each in run.messages if each["message_type"] == "notice"]


def test_cut_off_before_its_first_rename_a_swap_is_given_up_where_the_server_runs(make):
    """It may have been in service for weeks: to finish would push all of that aside."""
    service = spread_out(make())
    archive(service)
    service.sql("INSERT INTO item VALUES (-1)")
    killed(service, CrashPoint.SWAP_INTENDED, "restore", "db", "--to", "latest", "--yes")
    service.sql("INSERT INTO item SELECT generate_series(-1000, -2)", "INSERT INTO far VALUES (-1)")
    (staged,) = service.leftovers
    shown = service.stack.succeed("restore", "db", "--dry-run").message("swap_unfinished")
    assert not shown["is_turned_back"]
    assert (service.state / "swap.json").exists()
    run = service.stack.succeed("restore", "db", "--to", "latest", "--yes")
    assert any("was cut off before anything was exchanged" in each for each in notices(run))
    assert rewritten_bytes(run) is not None
    assert run.message("restored_in_place")["staging"][0] == str(staged)
    assert rows(service) == (2001, 1002)
    require_tidy(service, 1)
    entries = service.stack.succeed("journal", "db").messages
    assert [each["result"] for each in entries if each["message_type"] == "journal_entry"][-2:] == ["put back", "done"]
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert rows(service) == (2001, 1002)


def test_cut_off_before_its_first_rename_an_undo_is_given_up_where_the_server_runs(make):
    service = spread_out(make())
    service.stack.succeed("restore", "db", "--yes")
    service.sql("INSERT INTO item SELECT generate_series(-1000, -1)")
    killed(service, CrashPoint.SWAP_INTENDED, "restore", "db", "--undo", "--yes")
    service.stack.succeed("restore", "db", "--yes")
    assert rows(service) == (1000, 1000)
    require_tidy(service, 2)
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert rows(service) == (2000, 1000)


def test_cut_off_before_its_first_rename_a_swap_is_finished_where_the_server_is_down(make):
    service = spread_out(make())
    killed(service, CrashPoint.SWAP_STOPPED, "restore", "db", "--yes")
    service.stack.succeed("restore", "db", "--yes").message("swap_finished")
    assert rows(service) == (1000, 1000)
    require_tidy(service, 1)


@pytest.mark.parametrize("point", some_of(DURING))
def test_an_undo_turns_the_swap_back(make, point):
    service = spread_out(make())
    kill_and_turn_back(service, point)
    service.stack.succeed("restore", "db", "--yes")
    assert rows(service) == (1000, 1000)
    require_tidy(service, 1)


@pytest.mark.parametrize("point", some_of(BACKWARD))
def test_on_the_way_back_the_next_run_goes_on(make, point):
    kill_on_the_way_back(spread_out(make(checks=SELDOM_WELL)), point)


@pytest.mark.parametrize("point", some_of(DROPPING))
def test_a_deletion_is_finished(make, point):
    service = spread_out(make())
    service.stack.succeed("restore", "db", "--yes")
    killed(service, point, "restore", "db", "--drop-checkpoint", "--yes")
    run = service.stack.run("restore", "db", "--undo", "--yes")
    assert run.code == 1, str(run)
    service.stack.succeed("restore", "db", "--drop-checkpoint", "--yes")
    require_tidy(service, 0)
    assert rows(service) == (1000, 1000)


@pytest.mark.slow
def test_a_swap_that_is_done_and_recorded_is_not_repeated(make):
    service = spread_out(make())
    killed(service, CrashPoint.SWAP_FINISHED, "restore", "db", "--yes")
    assert rows(service) == (1000, 1000)
    require_tidy(service, 1)
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert rows(service) == (1001, 1001)


@pytest.mark.slow
def test_an_undo_that_is_cut_off_is_finished(make):
    service = spread_out(make())
    service.stack.succeed("restore", "db", "--yes")
    for point in (f"{CrashPoint.SWAP_STEP_DONE}:3", CrashPoint.SWAP_RECORDED):
        before = rows(service)
        killed(service, point, "restore", "db", "--undo", "--yes")
        service.stack.succeed("restore", "db", "--yes")
        assert rows(service) != before
        require_tidy(service, 1)


@pytest.mark.slow
@pytest.mark.parametrize("passing", [1, 2])
def test_an_undo_that_is_cut_off_is_turned_back(make, passing):
    service = spread_out(make())
    service.stack.succeed("restore", "db", "--yes")
    killed(service, f"{CrashPoint.SWAP_RECORDED}:{passing}", "restore", "db", "--undo", "--yes")
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert rows(service) == (1000, 1000)
    require_tidy(service, 1)
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert rows(service) == (1001, 1001)
