"""The live cluster is down, damaged, empty or gone: what is left of it is kept, and the service comes back."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from tests.integration.backup_restore.stack import wait_until
from tests.integration.in_place.services import archive, archived, owner
from tests.integration.in_place.test_kills import killed, servers_in, spread_out

from holdfast.crashpoint import CrashPoint

NOTES_EACH_LOGIN = (
    "CREATE TABLE login (at timestamptz)",
    """CREATE FUNCTION note_login() RETURNS event_trigger LANGUAGE plpgsql
       AS $$ BEGIN INSERT INTO public.login VALUES (now()); END $$""",
    "CREATE EVENT TRIGGER note_login ON login EXECUTE FUNCTION note_login()",
    "ALTER EVENT TRIGGER note_login ENABLE ALWAYS",
)


def empty(service):
    for path in service.data.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def remove(service):
    shutil.rmtree(service.data)


def break_control(service):
    (service.data / "global" / "pg_control").write_bytes(b"\0" * 8192)


def lose_catalog(service):
    shutil.rmtree(service.data / "global")
    shutil.rmtree(service.data / "pg_tblspc")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_server_that_is_down_is_replaced_and_comes_back_down(service, how):
    service.stop(how)
    service.stack.succeed("restore", "db", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 1000
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 2000


@pytest.mark.parametrize(
    "destroy",
    [
        remove,
        pytest.param(empty, marks=pytest.mark.slow),
        pytest.param(break_control, marks=pytest.mark.slow),
        pytest.param(lose_catalog, marks=pytest.mark.slow),
    ],
)
def test_what_is_left_of_a_cluster_is_kept(make, destroy):
    service = spread_out(make())
    both = "SELECT (SELECT count(*) FROM item) + (SELECT count(*) FROM far)"
    service.stop("immediate")
    destroy(service)
    service.stack.succeed("restore", "db", "--yes")
    assert service.ask(both) == 2000
    assert len(service.checkpoints) == 1
    # the lost cluster's tablespace lay where the restored one's belongs: it is kept, too
    names = [path.name for path in (service.place / "fast").iterdir()]
    assert sum(name.startswith("holdfast-checkpoint-") for name in names) == 1
    # nothing starts from what is left, so an undo is itself put back
    assert service.stack.run("restore", "db", "--undo", "--yes").code in {1, 2}
    assert service.ask(both) == 2000
    service.stack.succeed("restore", "db", "--drop-checkpoint", "--yes")
    assert not service.checkpoints
    assert service.ask(both) == 2000


def die_with_unarchived_wal(service):
    """Kill a server that has committed 4,000 rows, of which the archive has 2,000."""
    archive(service)
    service.sql("CREATE TABLE item AS SELECT i AS id FROM generate_series(1, 1000) AS i")
    service.stack.backup()
    service.sql("INSERT INTO item SELECT i FROM generate_series(1001, 2000) AS i")
    last = service.ask("SELECT pg_walfile_name(pg_switch_wal())")
    wait_until(lambda: last in archived(service))
    service.sql("ALTER SYSTEM SET archive_command = 'false'", "SELECT pg_reload_conf()")
    service.sql("INSERT INTO item SELECT i FROM generate_series(2001, 3000) AS i", "SELECT pg_switch_wal()")
    service.sql("INSERT INTO item SELECT i FROM generate_series(3001, 4000) AS i")
    kill_server(service)


def kill_server(service):
    postmaster = int((service.data / "postmaster.pid").read_text().splitlines()[0])
    os.kill(postmaster, signal.SIGKILL)
    wait_until(lambda: not servers_in(service.data))


@pytest.mark.parametrize("major", [15, pytest.param(18, marks=pytest.mark.slow)])
@pytest.mark.parametrize("damage", [None, pytest.param(break_control, marks=pytest.mark.slow)])
def test_a_killed_server_loses_no_committed_row_though_its_last_wal_was_not_archived(make, major, damage):
    service = make(major)
    die_with_unarchived_wal(service)
    before = archived(service)
    if damage:
        damage(service)
    plan = service.stack.succeed("restore", "db", "--to", "latest", "--dry-run").message("in_place_plan")
    assert any("is not archived: it is in" in note for note in plan["notes"])
    assert archived(service) == before, "a dry run changes nothing"
    service.stack.succeed("restore", "db", "--to", "latest", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 4000
    assert service.timeline == 2
    assert len(archived(service) - before) >= 2
    service.stack.check()
    if damage:
        return
    # the old server goes on, and its whole segment takes the place of what was taken from it
    service.stack.succeed("restore", "db", "--undo", "--yes")
    service.sql("ALTER SYSTEM RESET archive_command", "SELECT pg_reload_conf()", "INSERT INTO item VALUES (4001)")
    last = service.ask("SELECT pg_walfile_name(pg_switch_wal())")
    wait_until(lambda: last in archived(service), timeout_s=90)
    assert service.stack.run("wal", "status", "db").message("wal_status")["gaps"] == []
    service.stack.succeed("restore", "db", "--to", "latest", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 4001


def test_a_killed_server_of_which_only_the_snapshot_knows_where_it_is_loses_no_committed_row(make):
    """The stack file that ``config generate`` writes names no data directory, and nothing was restored here before."""
    service = make()
    del service.stack.service["data_directory"]
    service.stack.write()
    die_with_unarchived_wal(service)
    plan = service.stack.succeed("restore", "db", "--to", "latest", "--dry-run").message("in_place_plan")
    assert any("is not archived: it is in" in note for note in plan["notes"])
    service.stack.succeed("restore", "db", "--to", "latest", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 4000


def test_wal_that_never_was_archived_is_taken_from_a_killed_server_from_the_snapshot_on(make):
    service = make()
    archive(service, command="false")
    service.sql("CREATE TABLE item AS SELECT i AS id FROM generate_series(1, 1000) AS i")
    service.stack.backup()
    service.sql("INSERT INTO item SELECT i FROM generate_series(1001, 2000) AS i", "SELECT pg_switch_wal()")
    service.sql("INSERT INTO item SELECT i FROM generate_series(2001, 3000) AS i")
    kill_server(service)
    service.stack.succeed("restore", "db", "--to", "latest", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 3000


def test_a_killed_server_whose_history_file_is_lost_loses_no_committed_row(make):
    """What its timeline came from is not needed, where a snapshot was taken on it."""
    service = make()
    archive(service)
    service.sql("CREATE TABLE item AS SELECT i AS id FROM generate_series(1, 1000) AS i")
    service.stack.backup()
    service.stack.succeed("restore", "db", "--yes")
    wait_until(lambda: "00000002.history" in archived(service))
    service.stack.backup()
    service.sql("ALTER SYSTEM SET archive_command = 'false'", "SELECT pg_reload_conf()")
    service.sql("INSERT INTO item SELECT i FROM generate_series(1001, 2000) AS i")
    kill_server(service)
    (stored,) = (service.place / "repository" / "wal").rglob("00000002.history")
    stored.unlink()
    (service.data / "pg_wal" / "00000002.history").unlink()
    service.stack.succeed("restore", "db", "--to", "latest", "--yes")
    assert (service.ask("SELECT count(*) FROM item"), service.timeline) == (2000, 3)


@pytest.mark.slow
def test_damage_in_the_wal_of_a_killed_server_is_told(make):
    service = make()
    die_with_unarchived_wal(service)
    first_lacking = service.data / "pg_wal" / "000000010000000000000004"
    assert first_lacking.name not in archived(service)
    with first_lacking.open("r+b") as file:
        file.seek(0x5000)
        file.write(os.urandom(8192))
    run = service.stack.succeed("restore", "db", "--to", "latest", "--yes")
    assert any("WAL of the server is damaged at 0/40" in each.get("text", "") for each in run.messages)
    assert service.ask("SELECT count(*) FROM item") == 2000


def test_a_hole_in_the_wal_of_a_killed_server_is_no_bridge(make):
    service = make()
    die_with_unarchived_wal(service)
    before = archived(service)
    (service.data / "pg_wal" / "000000010000000000000004").unlink()
    run = service.stack.succeed("restore", "db", "--to", "latest", "--yes")
    assert any("000000010000000000000004 is neither archived nor in" in each.get("text", "") for each in run.messages)
    assert service.ask("SELECT count(*) FROM item") == 2000
    assert {name for name in archived(service) - before if "history" not in name} == set()


@pytest.mark.slow
def test_wal_that_was_deleted_before_it_was_archived_is_told_to_be_lost(make):
    service = make()
    die_with_unarchived_wal(service)
    shutil.rmtree(service.data / "pg_wal")
    plan = service.stack.succeed("restore", "db", "--to", "latest", "--dry-run").message("in_place_plan")
    assert any("000000010000000000000004 is not in its pg_wal" in note for note in plan["notes"])


@pytest.mark.slow
def test_a_copy_that_nobody_adopted_is_no_source_of_wal(make):
    service = make()
    die_with_unarchived_wal(service)
    (service.data / "holdfast-restore.json").write_text("{}")
    service.stack.succeed("restore", "db", "--to", "latest", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 2000


@pytest.mark.slow
def test_everything_is_gone_and_nothing_is_kept(make):
    service = spread_out(make())
    service.stop("immediate")
    shutil.rmtree(service.data)
    shutil.rmtree(service.place / "fast")
    service.stack.succeed("restore", "db", "--yes")
    assert service.ask("SELECT (SELECT count(*) FROM item) + (SELECT count(*) FROM far)") == 2000
    assert not service.checkpoints
    assert (service.place / "fast").stat().st_uid == owner().uid
    assert service.stack.run("restore", "db", "--undo", "--yes").code == 2


@pytest.mark.slow
def test_everything_is_gone_and_a_killed_run_had_made_the_directory_of_a_tablespace(make):
    service = spread_out(make())
    service.stop("immediate")
    shutil.rmtree(service.data)
    shutil.rmtree(service.place / "fast")
    killed(service, CrashPoint.RESTORE_TREE_MADE, "restore", "db", "--yes")
    service.stack.succeed("restore", "db", "--yes")
    assert service.ask("SELECT (SELECT count(*) FROM item) + (SELECT count(*) FROM far)") == 2000
    assert (service.place / "fast").stat().st_uid == owner().uid


@pytest.mark.slow
def test_a_new_cluster_in_its_place_is_kept(service):
    from holdfast.postgres.initdb import ClusterOptions, create_cluster

    configuration = (service.data / "postgresql.conf").read_text()
    service.stop("immediate")
    remove(service)
    create_cluster(service.binaries, service.data, ClusterOptions(), owner())
    (service.data / "postgresql.conf").write_text(configuration)
    service.start()
    service.sql("CREATE TABLE fresh (id int)")
    service.stack.succeed("restore", "db", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 1000
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert service.ask("SELECT count(*) FROM fresh") == 0


def test_a_data_directory_behind_a_symbolic_link(service):
    service.stop()
    real = service.place / "elsewhere"
    real.mkdir()
    owner().take_over(real)
    service.data.rename(real / "cluster")
    service.data.symlink_to(real / "cluster")
    service.start()
    service.stack.succeed("restore", "db", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 1000
    assert service.data.is_symlink()
    assert sorted(name.partition("-")[0] for name in os.listdir(real)) == ["cluster", "cluster.holdfast"]
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 2000


def move_wal(service, disk):
    """Have the WAL of a service on another disk, behind a link, as ``initdb --waldir`` does."""
    service.stop()
    disk.mkdir()
    owner().take_over(disk)
    shutil.copytree(service.data / "pg_wal", disk / "wal", symlinks=True)
    for path in (disk / "wal", *(disk / "wal").rglob("*")):
        owner().take_over(path)
    shutil.rmtree(service.data / "pg_wal")
    (service.data / "pg_wal").symlink_to(disk / "wal")
    service.start()


def test_wal_on_another_disk_stays_there(other_disk, service):
    move_wal(service, other_disk)
    plan = service.stack.succeed("restore", "db", "--dry-run").message("in_place_plan")
    assert f"pg_wal stays on its disk: {other_disk / 'wal'}" in plan["notes"]
    service.stack.succeed("restore", "db", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 1000
    assert os.readlink(service.data / "pg_wal") == str(other_disk / "wal")
    assert service.ask("SELECT count(*) FROM pg_ls_waldir()") == len(list((other_disk / "wal").glob("0*")))
    (kept,) = service.checkpoints
    assert sorted(path.name.partition("-")[0] for path in other_disk.iterdir()) == ["wal", "wal.holdfast"]
    assert Path(os.readlink(kept / "pg_wal")).parent == other_disk
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 2000
    assert os.readlink(service.data / "pg_wal") == str(other_disk / "wal")
    service.sql("INSERT INTO item VALUES (0)", "CHECKPOINT")
    service.stack.succeed("restore", "db", "--drop-checkpoint", "--yes")
    assert [path.name for path in other_disk.iterdir()] == ["wal"]
    assert not service.checkpoints


@pytest.mark.parametrize(("step", "command"), [(2, "--yes"), (4, "--yes"), (5, "--undo")])
def test_killed_while_wal_on_another_disk_changes_hands(other_disk, service, step, command):
    move_wal(service, other_disk)
    run = service.stack.run("restore", "db", "--yes", HOLDFAST_CRASH_POINT=f"{CrashPoint.SWAP_STEP_DONE}:{step}")
    assert run.code == -signal.SIGKILL
    service.stack.succeed("restore", "db", "--yes", command)
    assert service.ask("SELECT count(*) FROM item") == (2000 if command == "--undo" else 1000)
    assert os.readlink(service.data / "pg_wal") == str(other_disk / "wal")


def test_an_undo_makes_room_for_wal_whose_cluster_is_lost(other_disk, service):
    move_wal(service, other_disk)
    service.stack.succeed("restore", "db", "--yes")
    service.stop()
    shutil.rmtree(service.data)
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 2000


def test_wal_whose_directory_cannot_be_renamed_comes_back_inside_and_the_plan_says_so(other_disk, service):
    move_wal(service, other_disk)
    (other_disk / "wal").rename(other_disk / "real")
    (other_disk / "wal").symlink_to(other_disk / "real")
    plan = service.stack.succeed("restore", "db", "--dry-run").message("in_place_plan")
    assert any("cannot be exchanged by rename" in note and "stop the server" in note for note in plan["notes"])
    service.stack.succeed("restore", "db", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 1000
    assert not (service.data / "pg_wal").is_symlink()
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 2000


def test_tablespaces_made_and_dropped_since_and_one_in_the_data_directory(make):
    service = make()
    with (service.data / "postgresql.conf").open("a") as file:
        file.write("allow_in_place_tablespaces = on\n")
    service.stop()
    service.start()
    for name in ("old", "new"):
        (service.place / name).mkdir()
        owner().take_over(service.place / name)
    service.sql(
        f"CREATE TABLESPACE old LOCATION '{service.place / 'old'}'",
        "CREATE TABLESPACE inside LOCATION ''",
        "CREATE TABLE in_old TABLESPACE old AS SELECT 1 AS id",
        "CREATE TABLE in_inside TABLESPACE inside AS SELECT 2 AS id",
    )
    service.stack.backup()
    service.sql(
        "DROP TABLE in_old",
        "DROP TABLESPACE old",
        f"CREATE TABLESPACE new LOCATION '{service.place / 'new'}'",
        "CREATE TABLE in_new TABLESPACE new AS SELECT 3 AS id",
    )
    service.stack.succeed("restore", "db", "--yes")
    assert service.ask("SELECT id FROM in_old") + service.ask("SELECT id FROM in_inside") == 3
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert service.ask("SELECT id FROM in_new") + service.ask("SELECT id FROM in_inside") == 5
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert service.ask("SELECT id FROM in_old") + service.ask("SELECT id FROM in_inside") == 3
    # a backup of what is in service holds nothing of the checkpoint that lies in its tablespaces
    made = service.stack.backup()
    assert not [path for path in service.stack.entries(made["id"]) if b"holdfast-checkpoint" in path]


@pytest.mark.parametrize("major", [pytest.param(17, marks=pytest.mark.slow), 18])
def test_other_versions_with_a_trigger_that_writes_at_each_login(make, major):
    service = make(major, amcheck=True)
    service.sql("CREATE TABLE item AS SELECT i AS id FROM generate_series(1, 1000) AS i", *NOTES_EACH_LOGIN)
    service.stack.backup()
    service.sql("DROP TABLE item")
    service.stack.succeed("restore", "db", "--yes")
    assert (service.ask("SELECT count(*) FROM item"), service.timeline) == (1000, 2)
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert service.timeline == 1


@pytest.mark.slow
def test_configuration_that_lies_elsewhere_stays_as_it_is(make):
    service = make()
    service.stop()
    etc = service.place / "etc"
    etc.mkdir()
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        (service.data / name).rename(etc / name)
    with (etc / "postgresql.conf").open("a") as file:
        file.write(
            f"data_directory = '{service.data}'\nhba_file = '{etc}/pg_hba.conf'\nident_file = '{etc}/pg_ident.conf'\n"
        )
    options = f"-c config_file={etc}/postgresql.conf"
    service.pg_ctl("-l", str(service.place / "log"), "-o", options, "start")
    server = {"pg_ctl": {"log": str(service.place / "log"), "options": options}}
    service.stack.service["restore"] = {**service.stack.service["restore"], "server": server}
    service.stack.write()
    service.sql("CREATE TABLE item AS SELECT 1 AS id")
    service.stack.backup()
    service.sql("DROP TABLE item")
    with (etc / "postgresql.conf").open("a") as file:
        file.write("work_mem = '5MB'\n")
    service.stack.succeed("restore", "db", "--yes")
    assert service.ask("SELECT id FROM item") == 1
    assert service.ask("SHOW work_mem") == "5MB"
    assert not list(service.data.glob("*.conf.*"))
    assert [path.name for path in service.data.glob("*.conf")] == ["postgresql.auto.conf"]
