"""Bad input gets one clear line, a HINT and its exit code, and leaves nothing behind; and every exit code once."""

import os
import signal

import pytest
from tests.integration.backup_restore.clusters import ask, make_least_role, require_free, sql
from tests.integration.backup_restore.stack import IDENTITY, StackDirectory, finish, wait_until
from tests.integration.backup_restore.test_round_trip import damage
from tests.servers.majors import on_majors
from tests.servers.postgres import postgres_binaries

from holdfast.errors import ExitCode


def failed(run, code, *words):
    """Assert that a run ended with one clear line, and a HINT."""
    assert run.code == code, str(run)
    error = run.error
    assert error["exit_code"] == code
    assert "\n" not in error["message"]
    assert error["hint"], str(run)
    for word in words:
        assert word in error["message"], str(run)
    return error


def test_data_directory_that_is_wrong(quiet_cluster, make_stack, make_cluster, tmp_path, shared_directory):
    other = make_cluster(postgres_binaries(15))
    other.stop()
    empty, old = tmp_path / "empty", tmp_path / "old"
    empty.mkdir()
    old.mkdir()
    (old / "PG_VERSION").write_text("13\n")
    stack = make_stack(quiet_cluster)
    for directory, words in [
        (tmp_path / "nowhere", "does not exist"),
        (empty, "is not a data directory"),
        (stack.config, "is not a directory"),
        (other.data_directory, "belongs to another cluster"),
        (old, "PostgreSQL 13 is not supported"),
    ]:
        stack.service["data_directory"] = str(directory)
        stack.write()
        failed(stack.run("backup", "db"), 1, words)
        require_free(quiet_cluster)
    assert stack.snapshots() == []
    assert not list(stack.place.rglob("packs/*/*/*"))
    assert not list((stack.place / "sessions").iterdir())


def test_copied_control_file_does_not_pass_for_another_cluster(quiet_cluster, make_stack, shared_directory):
    """The data directory is seen elsewhere, as by a mount: that is what the override is for."""
    elsewhere = shared_directory / "mount"
    elsewhere.symlink_to(quiet_cluster.data_directory)
    stack = make_stack(quiet_cluster, service={"data_directory": str(elsewhere)})
    snapshot = stack.backup()
    assert snapshot["facts"]["data_directory"] == str(quiet_cluster.data_directory)
    assert snapshot["stats"]["files"] > 900


def test_server_that_is_down_or_refuses(quiet_cluster, make_stack, tmp_path):
    stack = make_stack(quiet_cluster)
    good = quiet_cluster.conninfo()
    for connection, words in [
        (f"host={tmp_path}/nothing user=postgres", "cannot connect to PostgreSQL"),
        (good.replace("user=postgres", "user=stranger"), "stranger"),
        (good.replace("dbname=postgres", "dbname=nothing"), "nothing"),
    ]:
        stack.connections = {"db": connection}
        stack.write()
        failed(stack.run("backup", "db"), 1, words)
    sessions = stack.place / "sessions"
    assert not sessions.exists() or not list(sessions.iterdir())


@on_majors(15, 18)
def test_role_with_too_few_privileges_and_with_just_enough(binaries, make_cluster, make_stack):
    cluster = make_cluster(binaries)
    sql(cluster, "CREATE ROLE weak LOGIN")
    stack = make_stack(cluster)
    stack.connections = {"db": cluster.conninfo(user="weak")}
    stack.write()
    assert "'holdfast doctor' tells which privileges" in failed(stack.run("backup", "db"), 1)["hint"]
    stack.connections = {"db": cluster.conninfo(user="least")}
    stack.write()
    make_least_role(cluster, "least")
    assert stack.backup()["is_complete"]


def test_repository_that_is_wrong(quiet_cluster, make_stack, tmp_path):
    stack = make_stack(quiet_cluster)
    failed(stack.run("init"), 2, "already a repository")
    stack.repository["url"] = str(tmp_path / "absent" / "deeper")
    stack.write()
    failed(stack.run("init"), 1, "no such directory")
    failed(stack.run("backup", "db"), 10, "no repository")
    failed(stack.run("restore", "db", "--target", tmp_path / "x"), 10, "no repository")
    assert not (tmp_path / "absent").exists()
    occupied = tmp_path / "occupied"
    occupied.mkdir()
    (occupied / "file").write_text("mine")
    stack.repository["url"] = str(occupied)
    stack.write()
    failed(stack.run("init"), 2, "something else (file)")
    failed(stack.run("backup", "db"), 10, "no repository")
    stack.repository["url"] = str(occupied / "file")
    stack.write()
    failed(stack.run("init"), 1)
    assert os.listdir(occupied) == ["file"]
    stack.repository["url"] = "s4://bucket"
    stack.write()
    assert stack.run("init").code == 2


def test_wrong_key(quiet_cluster, make_stack, tmp_path):
    stack = make_stack(quiet_cluster)
    secret = stack.directory / "passphrase"
    secret.write_text("not the right one\n")
    secret.chmod(0o600)
    stack.repository["passphrase"] = {"file": str(secret)}
    stack.write()
    failed(stack.run("backup", "db"), 12, "no key slot")
    failed(stack.run("snapshots"), 12, "no key slot")
    secret.chmod(0o644)
    failed(stack.run("snapshots"), 2, "others may read")


def test_fault_35_unencrypted_needs_both_words_and_marks_its_snapshots(quiet_cluster, tmp_path):
    stack = StackDirectory(tmp_path / "stack", {"db": quiet_cluster.conninfo()})
    failed(stack.run("init", "--unencrypted"), 2, "disagree")
    stack.repository["unencrypted"] = True
    stack.write()
    failed(stack.run("init"), 2, "disagree")
    assert not stack.place.exists()
    made = stack.succeed("init", "--unencrypted").message("repository_made")
    assert (made["is_encrypted"], made["recovery_identity"]) == (False, None)
    assert stack.backup()["is_encrypted"] is False
    del stack.repository["unencrypted"]
    stack.write()
    failed(stack.run("snapshots"), 2, "not encrypted")
    encrypted = StackDirectory(tmp_path / "encrypted", {"db": quiet_cluster.conninfo()})
    encrypted.succeed("init")
    assert encrypted.backup()["is_encrypted"] is True
    encrypted.repository["unencrypted"] = True
    encrypted.write()
    failed(encrypted.run("snapshots"), 2, "encrypted")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stack: [", "holdfast.yaml:1:9: "),
        ("stack: shop\nrepositorys: {}\n", "repositories"),
        ("", "holdfast.yaml"),
        ("\x00", "holdfast.yaml"),
    ],
)
def test_malformed_stack_file(tmp_path, text, words):
    stack = StackDirectory(tmp_path / "stack", {})
    stack.config.write_text(text)
    run = stack.run("backup", "db")
    assert run.code == 2, str(run)
    assert words in str(run.error)
    assert not stack.place.exists()


def test_clock_before_2020_is_refused(quiet_stack, monkeypatch):
    from datetime import UTC, datetime

    from tests.integration.backup_restore.stack import At

    from holdfast import clock
    from holdfast.errors import HoldfastError

    monkeypatch.setattr(clock, "now", lambda: datetime(1970, 1, 1, tzinfo=UTC))
    with pytest.raises(HoldfastError, match="1970-01-01, which cannot be") as caught:
        quiet_stack.back_up_here(At("", lambda: None))
    assert "timedatectl" in caught.value.hint
    monkeypatch.undo()
    assert quiet_stack.snapshots() == []


def test_every_exit_code(quiet_cluster, make_cluster, make_stack, tmp_path):
    """0, 1, 2, 3, 10, 11, 12, 14 and 130, each by the command line itself."""
    cluster = make_cluster(quiet_cluster.binaries)
    sql(cluster, "CREATE TABLE t AS SELECT md5(i::text) FROM generate_series(1, 20000) AS i", "CHECKPOINT")
    stack = make_stack(cluster)
    seen = {ExitCode.DONE: stack.run("backup", "db"), ExitCode.USAGE: stack.run("backup", "nothing")}
    damage(cluster.data_directory / ask(cluster, "SELECT pg_relation_filepath('t')"), 3)
    seen[ExitCode.PARTIAL] = stack.run("backup", "db")

    running = stack.start("backup", "db", "--rehash")
    sessions = stack.place / "sessions"
    wait_until(lambda: any(sessions.glob("*-*")) or running.poll() is not None)  # not its temporary file
    running.send_signal(signal.SIGSTOP)
    seen[ExitCode.BUSY] = stack.run("backup", "db")
    running.send_signal(signal.SIGINT)
    running.send_signal(signal.SIGCONT)
    seen[ExitCode.INTERRUPTED] = finish(running)

    (stack.place / "config").rename(tmp_path / "config")
    seen[ExitCode.NO_REPOSITORY] = stack.run("backup", "db")
    (tmp_path / "config").rename(stack.place / "config")
    (stack.directory / "identity").write_text(IDENTITY.rpartition(" ")[0] + " AAAAA")
    seen[ExitCode.WRONG_KEY] = stack.run("backup", "db")
    stack.write()
    pack = max(stack.packs(), key=lambda name: stack.packs()[name])
    for block in range(0, stack.packs()[pack] // 8192 - 1, 4):
        damage(stack.place / pack, block)
    target = tmp_path / "restored"
    seen[ExitCode.VERIFICATION_FAILED] = stack.run("restore", "db", "--target", target)
    cluster.stop()
    seen[ExitCode.FAILED] = stack.run("backup", "db")
    assert {code: run.code for code, run in seen.items()} == {code: int(code) for code in seen}
    for code, run in seen.items():
        if code not in {ExitCode.DONE, ExitCode.PARTIAL}:
            failed(run, code)
