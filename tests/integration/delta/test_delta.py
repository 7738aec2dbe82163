"""A copy becomes the snapshot, to the byte, whatever was done to it; and only what differs is written."""

import os
import random
import shutil

import pytest
from tests.integration.backup_restore.clusters import ask, require_sound, sql, start_restored
from tests.integration.cli.calling import validator
from tests.integration.delta.copies import content, delta, differences, largest
from tests.servers.postgres import account

SEED = int(os.environ.get("HOLDFAST_TEST_SEED", "4"))


def test_a_copy_that_is_right_is_left_as_it_is(stack, copy, wanted):
    done = delta(stack, copy)
    assert differences(wanted, content(copy)) == []
    # the control file gets its name anew; postgresql.auto.conf and tablespace_map are this restore's own
    assert done["rewritten_bytes"] < 64 << 10
    assert done["removed"] == 0
    assert done["size_bytes"] > 20 << 20


def test_a_copy_that_went_on_comes_back(stack, copy, wanted, make_cluster, source):
    cluster = start_restored(make_cluster, source, copy)
    sql(
        cluster,
        "UPDATE item SET id = -id WHERE id % 100 = 0",
        "DROP TABLE far",
        "CREATE TABLE later AS SELECT generate_series(1, 50000) AS i",
        "CREATE DATABASE another",
        "SELECT pg_switch_wal()",
        "CHECKPOINT",
    )
    cluster.stop()
    done = delta(stack, copy)
    assert differences(wanted, content(copy)) == []
    assert 0 < done["rewritten_bytes"] < done["size_bytes"] / 2
    restored = start_restored(make_cluster, source, copy)
    assert ask(restored, "SELECT count(*) FROM item WHERE id > 0") == 20000
    assert ask(restored, "SELECT count(*) FROM far") == 50000
    require_sound(restored)


def test_a_copy_damaged_at_random_comes_back_with_sizes_and_times_as_they_were(stack, copy, wanted):
    rng = random.Random(SEED)
    files = sorted(path for path in copy.rglob("*") if path.is_file() and path.stat().st_size)
    hit = rng.sample(files, 40)
    for path in hit:
        before = path.stat()
        with path.open("r+b") as file:
            file.seek(rng.randrange(before.st_size))
            file.write(bytes([rng.randrange(256)]))
        os.truncate(path, before.st_size)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = delta(stack, copy)
    assert differences(wanted, content(copy)) == [], f"seed {SEED}"
    assert done["rewritten_bytes"] < 4 << 20


def test_what_is_of_another_kind_or_too_much_goes_away(stack, copy, wanted, shared_directory):
    mine = shared_directory / "mine"
    mine.mkdir()
    (mine / "precious").write_text("not of the cluster")
    oid = next(path for path in (copy / "base").iterdir() if (path / "PG_VERSION").exists())
    (copy / "PG_VERSION").rename(copy / "away")
    (copy / "PG_VERSION").symlink_to(mine / "precious")
    relation = largest(oid)
    relation.unlink()
    relation.mkdir()
    (relation / "inside").touch()
    shutil.rmtree(copy / "pg_xact")
    (copy / "pg_xact").symlink_to(mine)
    (copy / "pg_subtrans").rmdir()
    (copy / "pg_subtrans").touch()
    (copy / "standby.signal").touch()
    (copy / "postmaster.pid").write_text("4194305\n")
    (copy / "base" / "99999").mkdir()
    (copy / "base" / "99999" / "1").write_text("old")
    (copy / "pg_wal" / "0000000100000000000000FF").write_bytes(bytes(1 << 20))
    os.truncate(copy / "sparse", 0)
    (copy / "sparse").write_bytes(os.urandom(4 << 20))
    os.chmod(copy / "base", 0o777)
    done = delta(stack, copy)
    assert differences(wanted, content(copy)) == []
    assert (mine / "precious").read_text() == "not of the cluster"
    assert done["removed"] >= 5


def test_files_that_share_their_content_with_another_cluster_are_not_written_to(stack, copy, wanted, shared_directory):
    twin = shared_directory / "twin"
    shutil.copytree(copy, twin, copy_function=os.link, symlinks=True)
    relation = largest(copy / "base")
    with relation.open("r+b") as file:
        file.write(b"changed in both")
    there = {path: path.read_bytes() for path in twin.rglob("*") if path.is_file()}
    delta(stack, copy)
    assert differences(wanted, content(copy)) == []
    assert {path: path.read_bytes() for path in there} == there


def test_pg_wal_may_be_a_link_elsewhere(stack, copy, wanted, shared_directory):
    elsewhere = shared_directory / "wal"
    (copy / "pg_wal").rename(elsewhere)
    (copy / "pg_wal").symlink_to(elsewhere)
    (elsewhere / "0000000100000000000000FF").write_bytes(bytes(1 << 20))
    delta(stack, copy)
    assert (copy / "pg_wal").is_symlink()
    assert not (elsewhere / "0000000100000000000000FF").exists()
    assert [path for path in differences(wanted, content(copy)) if path != "pg_wal"] == []


def test_what_lies_behind_a_link_is_not_taken_for_being_there(stack, copy, wanted, shared_directory):
    """The link goes, and all that it leads to with it; what stands elsewhere is left as it is."""
    moved = shared_directory / "moved"
    (copy / "base").rename(moved)
    (copy / "base").symlink_to(moved)
    there = {path: path.read_bytes() for path in moved.rglob("*") if path.is_file()}
    (copy / "pg_xact").rename(copy / "pg_multixact" / "inside")
    (copy / "pg_xact").symlink_to(copy / "pg_multixact" / "inside")
    done = delta(stack, copy)
    assert differences(wanted, content(copy)) == []
    assert done["rewritten_bytes"] > 20 << 20
    assert {path: path.read_bytes() for path in there} == there


@pytest.mark.parametrize("inside", ["wal", "base/wal"])
def test_a_pg_wal_that_leads_into_the_copy_becomes_a_directory(stack, copy, wanted, inside):
    (copy / "pg_wal").rename(copy / inside)
    (copy / "pg_wal").symlink_to(copy / inside)
    delta(stack, copy)
    assert differences(wanted, content(copy)) == []


def test_what_is_mounted_there_is_left_alone(stack, copy, wanted):
    mine = copy.with_name("mine")
    mine.mkdir()
    (mine / "precious").touch()
    (copy / "mounted").mkdir()
    arguments = ["restore", "db", "--target", copy, "--delta"]
    run = stack.run_with_mounts('mount --bind "$0" "$1" && shift && "$@"', [mine, copy / "mounted"], *arguments)
    assert run.message("delta_restored")["removed"] == 0
    assert (mine / "precious").exists()
    assert differences(wanted, content(copy)) == ["mounted"]


def test_a_dry_run_compares_and_changes_nothing(stack, copy):
    relation = largest(copy / "base")
    with relation.open("r+b") as file:
        file.write(b"changed")
    (copy / "surplus").touch()
    before = content(copy)
    plan = stack.succeed("restore", "db", "--target", copy, "--delta", "--dry-run").message("delta_plan")
    validator("delta_plan").validate(plan)
    assert content(copy) == before
    assert plan["surplus"] == [str(copy / "surplus")]
    assert (1 << 20) <= plan["differing_bytes"] < 3 << 20
    assert plan["differing_files"] < 8


def test_owners_and_modes_come_back(stack, copy, wanted):
    for path in list(copy.rglob("*"))[::7]:
        if not path.is_symlink():
            os.chmod(path, 0o755)
            os.chown(path, 0, 0)
    delta(stack, copy)
    assert differences(wanted, content(copy)) == []
    assert (copy / "PG_VERSION").stat().st_uid == account().uid
