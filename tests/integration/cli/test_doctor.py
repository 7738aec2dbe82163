"""``holdfast doctor`` finds what would stand in a backup's way, says how to repair it, and leaves nothing behind."""

from __future__ import annotations

import resource
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from tests.integration.backup_restore.clusters import sql
from tests.integration.backup_restore.stack import StackDirectory
from tests.integration.cli.calling import Run, rewrite, tree, without_privileges
from tests.servers.postgres import postgres_binaries

from holdfast import clock


def problems(answer: Run) -> dict[str, dict]:
    """Return the findings that are not ok by their words, each with a way to repair it."""
    found = [each for each in answer.messages if each["message_type"] == "examined" and each["state"] != "ok"]
    assert all(each["remedy"] for each in found), found
    return {each["words"]: each for each in found}


def only_problem(answer: Run, state: str) -> dict:
    """Return the only finding that is not ok."""
    ((_, finding),) = problems(answer).items()
    assert finding["state"] == state
    assert answer.code == (1 if state == "failed" else 0)
    return finding


def test_all_is_well_and_nothing_is_left_behind(shop, call):
    before = tree(shop.stack.place)
    answer = call(shop.stack, "doctor", "--json")
    assert problems(answer) == {}
    assert answer.code == 0
    assert answer.messages[-1]["failed"] == answer.messages[-1]["warning"] == 0
    subjects = {each["subject"] for each in answer.messages[:-1]}
    assert subjects == {"clock", "open files", "cache", "stack file", "repository main", "service db"}
    assert tree(shop.stack.place) == before
    shown = call(shop.stack, "doctor").out
    assert shown.endswith("all is well\n")
    script = shop.stack.directory / "spool" / "db" / "archive"
    lines = ["archive_mode = 'on'", f"""archive_command = 'set -- "%p" "%f"; . {script}'"""]
    assert "in postgresql.conf:\n" + "".join(f"           {line}\n" for line in lines) in shown
    assert "           restore_command = '" in shown


def with_service(shop, tmp_path, **service: object) -> StackDirectory:
    """Return a stack beside the shop's, with the same repository and another description of the service."""
    return StackDirectory(
        tmp_path / "beside", shop.stack.connections, repository={"url": str(shop.stack.place)}, service=service
    )


def test_no_place_for_the_records_of_restores_in_place(shop, call, tmp_path):
    """Not what an operator should learn at night, with the database down."""
    server = {"stop": ["true"], "start": ["true"]}
    (tmp_path / "file").touch()
    stack = with_service(shop, tmp_path, restore={"server": server, "state": str(tmp_path / "file" / "state")})
    finding = only_problem(call(stack, "doctor", "--json"), "warning")
    assert "restores in place cannot be recorded" in finding["words"]
    stack = with_service(shop, tmp_path, restore={"server": server, "state": str(tmp_path / "new" / "state")})
    assert problems(call(stack, "doctor", "--json")) == {}
    assert not (tmp_path / "new").exists()


def test_a_server_that_is_down(shop, call, tmp_path):
    finding = only_problem(call(with_service(shop, tmp_path, connection="host=/nowhere"), "doctor", "--json"), "failed")
    assert "cannot connect" in finding["words"]
    assert finding["subject"] == "service db"


@pytest.fixture
def other_cluster(make_cluster):
    """A cluster that is not the shop's."""
    return make_cluster(postgres_binaries(15), settings={"wal_level": "replica"})


@pytest.mark.parametrize("method", ["data_directory", "replication"])
def test_another_cluster_than_that_of_the_last_snapshot(copied_stack, shop, call, other_cluster, method: str):
    """The next backup would be the first of another cluster, and whoever looks for the old one would not know."""
    identifier = shop.second["facts"]["system_identifier"]
    rewrite(copied_stack, lambda content: content["services"]["db"].update(method=method))
    words = {each["words"] for each in call(copied_stack, "doctor", "--json").messages[:-1]}
    assert f"it is the cluster of the last snapshot, {shop.second['id'][:8]}" in words
    rewrite(copied_stack, lambda content: content["services"]["db"].update(connection=other_cluster.conninfo()))
    finding = only_problem(call(copied_stack, "doctor", "--json"), "warning")
    start = f"this is another cluster than that of the last snapshot, {shop.second['id'][:8]}: PostgreSQL 15 with"
    assert finding["words"].startswith(start)
    assert finding["words"].endswith(f"and it was PostgreSQL 15 with {identifier}")
    assert "back it up now" in finding["remedy"]


def test_an_archive_of_another_cluster(shop, call, other_cluster, tmp_path):
    """Each push would be refused, and pg_wal would fill."""
    identifier = shop.second["facts"]["system_identifier"]
    spool = tmp_path / "spool"
    stack = StackDirectory(tmp_path / "new", shop.stack.connections, service={"wal": {"spool": str(spool)}})
    stack.succeed("init")
    assert call(stack, "wal", "setup", "db").code == 0
    (spool / "receive.json").write_text(
        f'{{"service": "db", "slot": "holdfast_db", "pid": 1, "system_identifier": "{identifier}"}}'
    )
    ours = set(problems(call(stack, "doctor", "--json")))
    assert not any("another cluster" in words for words in ours)
    rewrite(stack, lambda content: content["services"]["db"].update(connection=other_cluster.conninfo()))
    found = problems(call(stack, "doctor", "--json"))
    refuses = f"was set up for another cluster ({identifier}), and refuses the WAL of this one"
    assert found[f"archive_command {refuses}"]["remedy"].endswith("run 'holdfast wal setup db'")
    assert found[f"the receiver {refuses}"]["remedy"].endswith(f"remove {spool}/receive.json")


def test_a_restored_cluster_that_is_not_adopted(call, other_cluster, tmp_path):
    spool = {"wal": {"spool": str(tmp_path / "spool")}}
    stack = StackDirectory(tmp_path / "new", {"db": other_cluster.conninfo()}, service=spool)
    stack.succeed("init")
    (other_cluster.data_directory / "holdfast-restore.json").write_text("{}")
    words = f"the cluster in {other_cluster.data_directory} was restored from a backup"
    assert not any(each.startswith(words) for each in problems(call(stack, "doctor", "--json")))
    assert call(stack, "wal", "setup", "db").code == 0
    (finding,) = [each for said, each in problems(call(stack, "doctor", "--json")).items() if said.startswith(words)]
    assert finding["remedy"].endswith("'holdfast wal adopt db'")


@pytest.fixture
def directories(shop, tmp_path):
    """Directories that are not the shop's data directory, by what they are."""
    old, other, empty = tmp_path / "old", tmp_path / "other", tmp_path / "empty"
    for path in (old, other):
        (path / "global").mkdir(parents=True)
    (old / "PG_VERSION").write_text("13\n")
    (old / "global" / "pg_control").touch()
    empty.mkdir()
    shutil.copy(shop.cluster.data_directory / "PG_VERSION", other)
    control = bytearray((shop.cluster.data_directory / "global" / "pg_control").read_bytes())
    control[0] ^= 1
    from holdfast.postgres.crc32c import crc32c

    control[288:292] = crc32c(bytes(control[:288])).to_bytes(4, "little")
    (other / "global" / "pg_control").write_bytes(control)
    return {"old": old, "other": other, "empty": empty, "absent": tmp_path / "absent"}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("old", "PostgreSQL 13 is not supported"),
        ("other", "belongs to another cluster"),
        ("empty", "is not a data directory"),
        ("absent", "does not exist"),
    ],
)
def test_a_wrong_data_directory(shop, call, tmp_path, directories, kind: str, words: str):
    stack = with_service(shop, tmp_path, data_directory=str(directories[kind]))
    assert words in only_problem(call(stack, "doctor", "--json"), "failed")["words"]


def test_a_role_without_privileges_gets_the_statements_to_run(shop, call, tmp_path):
    sql(shop.cluster, "CREATE ROLE weak LOGIN")
    try:
        stack = with_service(shop, tmp_path, connection=shop.cluster.conninfo(user="weak"))
        answer = call(stack, "doctor", "--json")
        finding = problems(answer)["the role lacks privileges that a backup needs"]
        assert (answer.code, finding["state"]) == (1, "failed")
        sql(shop.cluster, *finding["details"])
        assert problems(call(stack, "doctor", "--json")) == {}
    finally:
        sql(shop.cluster, "DROP OWNED BY weak", "DROP ROLE weak")


def test_a_server_that_cannot_hold_wal(call, make_cluster, tmp_path):
    cluster = make_cluster(
        postgres_binaries(15), settings={"wal_level": "minimal", "max_wal_senders": "0"}, has_checksums=False
    )
    stack = StackDirectory(tmp_path / "stack", {"db": cluster.conninfo()})
    stack.succeed("init")
    answer = call(stack, "doctor", "--json")
    found = problems(answer)
    assert answer.code == 1
    states = {finding["remedy"].partition(",")[0]: finding["state"] for finding in found.values()}
    assert states["set wal_level = replica and max_replication_slots above 0"] == "failed"
    assert states["set max_wal_senders = 10"] == "warning"
    assert states["stop the server"] == "warning"


def test_no_repository(shop, call, tmp_path):
    stack = StackDirectory(tmp_path / "new", shop.stack.connections)
    finding = only_problem(call(stack, "doctor", "--json"), "failed")
    assert "holdfast init" in finding["remedy"]
    assert not stack.place.exists()


def test_a_wrong_key(copied_stack, call):
    path = copied_stack.directory / "identity"
    from holdfast.repository.identity import render_identity
    from holdfast.repository.key_slot import SlotKind

    path.write_text(render_identity(bytes(32), SlotKind.RECOVERY))
    assert "no key slot" in only_problem(call(copied_stack, "doctor", "--json"), "failed")["words"]


def test_an_unreadable_secret(copied_stack, call):
    path = copied_stack.directory / "identity"
    path.chmod(0o644)
    assert only_problem(call(copied_stack, "doctor", "--json"), "failed")["remedy"] == f"chmod 600 {path}"


def test_a_repository_with_one_key_only(copied_stack, call):
    slots = call(copied_stack, "key", "list", "--json").messages
    other = next(slot for slot in slots if slot["label"] != "first")
    call(copied_stack, "key", "remove", other["id"])
    assert only_problem(call(copied_stack, "doctor", "--json"), "warning")["remedy"] == "holdfast key add --recovery"


def test_a_read_only_repository(copied_stack):
    rewrite(copied_stack, lambda content: content.pop("services"))
    for path in (copied_stack.place, *copied_stack.place.rglob("*")):
        if path.is_dir():
            path.chmod(0o555)
    try:
        child = subprocess.run(
            without_privileges(copied_stack.command("doctor", "--json")),
            capture_output=True,
            env=copied_stack.environment,
            check=False,
        )
    finally:
        copied_stack.place.chmod(0o755)
    finding = only_problem(Run(child.returncode, child.stdout, child.stderr.decode()), "failed")
    assert finding["words"].startswith("it is read-only from here")


def test_a_clock_before_2020(copied_stack, call, monkeypatch):
    rewrite(copied_stack, lambda content: content.pop("services"))
    monkeypatch.setattr(clock, "now", lambda: datetime(1999, 12, 31, tzinfo=UTC))
    answer = call(copied_stack, "doctor", "--json")
    assert answer.code == 1
    assert "the system clock says 1999-12-31, which cannot be" in problems(answer)


@pytest.mark.parametrize(("off", "state"), [(timedelta(seconds=60), "warning"), (timedelta(hours=-1), "failed")])
def test_a_clock_that_differs_from_the_storage_s(copied_stack, call, monkeypatch, off: timedelta, state: str):
    rewrite(copied_stack, lambda content: content.pop("services"))
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + off)
    assert "clock" in only_problem(call(copied_stack, "doctor", "--json"), state)["words"]


def test_few_open_files_and_no_cache(copied_stack, call, monkeypatch):
    rewrite(copied_stack, lambda content: content.pop("services"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(type(copied_stack), "environment", {"XDG_CACHE_HOME": "/proc/nowhere"})
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        answer = call(copied_stack, "doctor", "--json")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (answer.code, {each["subject"] for each in problems(answer).values()}) == (0, {"open files", "cache"})


def test_an_unencrypted_repository_is_warned_of(call, tmp_path):
    stack = StackDirectory(tmp_path / "plain", {}, repository={"unencrypted": True})
    stack.succeed("init", "--unencrypted")
    assert only_problem(call(stack, "doctor", "--json"), "warning")["words"] == "it is NOT ENCRYPTED"


def test_a_wrong_stack_file_is_a_finding(call, tmp_path):
    stack = StackDirectory(tmp_path / "wrong", {})
    stack.config.write_text("stack: shop\nrepositories: [\n")
    finding = only_problem(call(stack, "doctor", "--json"), "failed")
    assert f"{stack.config}:3:1" in finding["words"]
    assert "HINT: " in call(stack, "doctor").out


def test_an_unknown_repository_is_refused(shop, call):
    finding = only_problem(call(shop.stack, "doctor", "-r", "mian", "--json"), "failed")
    assert finding["remedy"] == "did you mean 'main'?"
