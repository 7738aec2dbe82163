"""``archive_command`` on real servers, while things go wrong: the database goes on, and nothing is falsely believed."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.backup_restore.stack import wait_until
from tests.integration.wal_push.archiving import require_schema

from holdfast.errors import ExitCode
from holdfast.postgres.timeline import Timeline


@pytest.mark.parametrize("major", [15, 17, 18])
def test_what_arrives_is_what_was_written(make_archiving, major):
    shop = make_archiving(major, segment_mib=16 if major == 15 else 1)
    names = shop.write(3)
    shop.wait_archived(names)
    assert shop.archived() >= set(names)
    state = json.loads((shop.spool / "push.json").read_text())
    assert (state["failure"], state["is_full"], state["queue"]["files"]) == (None, False, 0)
    again = shop.stack.succeed("wal", "push", "db", shop.wal_directory / names[0])
    message = require_schema(again.message("wal_pushed"))
    assert (message["file"], message["outcome"], message["ahead"]) == (names[0], "already there", 0)


def test_the_repository_is_away_and_comes_back(kept):
    away = kept.repository.with_name("elsewhere")
    kept.wait_archived(kept.write(1))
    os.rename(kept.repository, away)
    try:
        names = kept.write(2)
        kept.wait_failed()
        kept.require_alive()
        assert not set(names) & kept.status(".done")
        assert not kept.repository.exists(), "an absent repository was made anew"
        failure = json.loads((kept.spool / "push.json").read_text())["failure"]
        assert "no repository" in failure["message"]
        assert "mounted" in failure["hint"]
        # an empty mount point is no repository either
        kept.repository.mkdir(mode=0o777)
        kept.repository.chmod(0o777)
        answer = kept.push(f"pg_wal/{names[0]}")
        assert answer.returncode == ExitCode.NO_REPOSITORY
        assert not list(kept.repository.iterdir())
        kept.repository.rmdir()
    finally:
        os.rename(away, kept.repository)
    kept.wait_archived(names)
    assert json.loads((kept.spool / "push.json").read_text())["failure"] is None


def test_another_repository_in_its_place_is_refused(kept, tmp_path):
    (name,) = kept.write(1)
    kept.wait_archived([name])
    config = kept.repository / "config"
    content = config.read_text()
    try:
        config.write_text(content.replace(kept.settings.repository_id, "0" * 32))
        answer = kept.push(f"pg_wal/{name}")
        assert answer.returncode == ExitCode.VERIFICATION_FAILED
        assert "HINT: if that is meant, run 'holdfast wal setup' again" in answer.stderr
    finally:
        config.write_text(content)


def test_permission_is_lost_and_given_back(kept):
    place = kept.repository / "wal"
    kept.wait_archived(kept.write(1))
    place.chmod(0o000)
    try:
        names = kept.write(1)
        kept.wait_failed()
        kept.require_alive()
        assert not set(names) & kept.status(".done")
    finally:
        place.chmod(0o750)
    kept.wait_archived(names)


def test_the_disk_is_full_and_gets_room(make_archiving, shared_directory):
    """A file system of 3 MiB; needs root, as mounting does."""
    shop = make_archiving()
    place = shop.repository / "wal"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=777", "holdfast-test", place], check=True)
    try:
        (place / "ballast").write_bytes(bytes(3 << 20 >> 1))
        fill = "INSERT INTO noise SELECT sha256(i::text::bytea) FROM generate_series(1, 30000) AS i"
        sql(shop.cluster, "CREATE TABLE noise (b bytea)", fill, fill)
        names = shop.write(2)
        shop.wait_failed()
        shop.require_alive()
        assert not set(names) & shop.status(".done")
        shop.require_truthful()
        assert "no space" in json.loads((shop.spool / "push.json").read_text())["failure"]["message"]
        subprocess.run(["mount", "-o", "remount,size=64m", place], check=True)
        shop.wait_archived(names)
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_fault_04_a_segment_of_another_cluster_is_refused(kept, make_cluster):
    from tests.servers.postgres import postgres_binaries

    other = make_cluster(postgres_binaries(15), "other", wal_segment_size_bytes=1 << 20)
    sql(other, "CREATE TABLE item (id int)")
    name = ask(other, "SELECT pg_walfile_name(pg_switch_wal())")
    # by its place, although its name is right
    answer = kept.push(other.data_directory / "pg_wal" / name)
    assert answer.returncode == ExitCode.FAILED
    assert "give the copy a service of its own" in answer.stderr
    # and by its content, wherever it lies
    place = kept.directory / "from-the-other"
    place.mkdir()
    (place / name).write_bytes((other.data_directory / "pg_wal" / name).read_bytes())
    answer = kept.push(place / name)
    assert answer.returncode == ExitCode.VERIFICATION_FAILED
    assert "is of another cluster: its system identifier is" in answer.stderr


def test_fault_07_garbage_and_truncated_segments_are_refused(kept):
    (name,) = kept.write(1)
    kept.wait_archived([name])
    copy = kept.salvaged(name)
    whole = copy.read_bytes()
    later = name[:-2] + "F0"  # a name that the archive does not have
    wrong = {
        "cut": (name, whole[:-1]),
        "long": (name, whole + b"\0"),
        "empty": (name, b""),
        "zeros": (name, bytes(len(whole))),
        "hole": (name, whole[:8192] + bytes(8192) + whole[16384:]),
        "renamed": (later, whole),
    }
    for kind, (called, content) in wrong.items():
        path = copy.with_name(called)
        path.write_bytes(content)
        answer = kept.push(path)
        assert answer.returncode == ExitCode.VERIFICATION_FAILED, (kind, answer)
        assert answer.stderr.count("\n") == 2, answer.stderr
    assert later not in kept.archived()
    kept.require_truthful()


def test_garbage_in_pg_wal_holds_up_the_archive_and_nothing_else(make_archiving):
    shop = make_archiving()
    shop.archive_by("false")
    bad, good = shop.write(2)
    path = shop.wal_directory / bad
    whole = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(8192 * 2 + 8)
        file.write(b"\xff" * 8)
    shop.archive_by(f"{shop.spool}/archive %p %f")
    shop.wait_failed(2)
    shop.require_alive()
    assert not {bad, good} & shop.status(".done")
    assert bad not in shop.archived()
    path.write_bytes(whole)
    shop.wait_archived([bad, good])


def test_two_pushers_at_once(kept):
    kept.archive_by("false")
    (name,) = kept.write(1)
    path = kept.salvaged(name)
    command = ["wal", "push", "db", str(path), "--settings", str(kept.spool / "settings")]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: kept.run(*command), range(4)))
    assert [answer.returncode for answer in answers] == [0, 0, 0, 0], answers
    assert bytes(kept.archive().get(name)) == path.read_bytes()
    kept.archive_by(f"{kept.spool}/archive %p %f")
    kept.wait_archived([name])


def test_a_standby_that_is_promoted_archives_its_history(make_archiving, make_cluster):
    from tests.integration.backup_restore.clusters import make_standby

    shop = make_archiving()
    shop.wait_archived(shop.write(1))
    standby = make_standby(make_cluster, shop.cluster)
    wait_until(lambda: ask(standby, "SELECT pg_is_in_recovery()"))
    shop.cluster.stop()
    # the service is on the other machine now: it is set up there
    shop.stack.connections = {"db": standby.conninfo()}
    shop.stack.write()
    shop.cluster = standby
    shop.set_up()
    sql(standby, "SELECT pg_promote()")
    wait_until(lambda: not ask(standby, "SELECT pg_is_in_recovery()"))
    names = shop.write(2)
    shop.wait_archived([*names, "00000002.history"])
    assert shop.archive().history(Timeline(2)).timeline == 2


def test_an_edited_stack_file_takes_effect_without_setup(kept):
    before = kept.settings.source
    kept.stack.config.write_text(kept.stack.config.read_text().replace("stack: shop", "stack: shop\n"))
    kept.wait_archived(kept.write(1))
    # the server's account cannot read the identity: what was set up goes on, and says so
    (name,) = kept.write(1)
    kept.wait_archived([name])
    answer = kept.push(f"pg_wal/{name}")
    assert answer.returncode == 0
    assert "run 'holdfast wal setup db'" in answer.stderr
    assert kept.settings.source == before
    kept.set_up()
    assert kept.settings.source != before
    assert kept.push(f"pg_wal/{name}").stderr == ""
