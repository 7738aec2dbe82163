"""What is wrong with the input gets one clear line, a HINT and its exit code, and leaves nothing behind."""

from __future__ import annotations

import resource
import shutil
import subprocess

import pytest
from tests.integration.backup_restore.stack import StackDirectory
from tests.integration.cli.calling import Run, rewrite, tree, without_privileges

# Each command that reads a repository, with arguments that would be right.
READERS = [
    ["snapshots"],
    ["show"],
    ["ls", "latest"],
    ["find", "*"],
    ["diff", "latest"],
    ["dump", "latest", "PG_VERSION", "--output", "OUTPUT"],
    ["stats"],
    ["check"],
    ["key", "list"],
    ["key", "add", "--recovery"],
    ["key", "remove", "00"],
]
NAMES = [" ".join(arguments[:2]) for arguments in READERS]
CHOOSERS = [arguments for arguments in READERS if arguments[0] in {"show", "ls", "diff", "dump"}]


def filled_in(arguments: list[str], tmp_path) -> list[str]:
    return [argument.replace("OUTPUT", str(tmp_path / "output")) for argument in arguments]


@pytest.mark.parametrize("arguments", READERS, ids=NAMES)
def test_where_there_is_no_repository(shop, call, tmp_path, arguments: list[str]):
    stack = StackDirectory(tmp_path / "new", shop.stack.connections)
    refused = call(stack, *filled_in(arguments, tmp_path), "--json")
    assert refused.code == 10
    assert "holdfast init" in refused.error["hint"]
    assert not stack.place.exists()
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("arguments", READERS, ids=NAMES)
def test_a_stack_file_that_cannot_be_read(call, tmp_path, arguments: list[str]):
    stack = StackDirectory(tmp_path / "wrong", {})
    stack.config.write_text("stack: shop\nrepositories: [\n")
    refused = call(stack, *filled_in(arguments, tmp_path), "--json")
    assert refused.code == 2
    assert f"{stack.config}:3:1" in refused.error["message"]
    assert "config schema" in refused.error["hint"]


@pytest.mark.parametrize("arguments", READERS, ids=NAMES)
def test_a_wrong_key(copied_stack, call, tmp_path, arguments: list[str]):
    from holdfast.repository.identity import render_identity
    from holdfast.repository.key_slot import SlotKind

    (copied_stack.directory / "identity").write_text(render_identity(bytes(32), SlotKind.RECOVERY))
    before = tree(copied_stack.place)
    refused = call(copied_stack, *filled_in(arguments, tmp_path), "--json")
    assert refused.code == 12
    assert refused.error["error"] == "KeyRefusedError"
    assert tree(copied_stack.place) == before


def with_snapshot(arguments: list[str], wanted: str) -> list[str]:
    """Return a command's arguments with another snapshot."""
    changed = [wanted if argument == "latest" else argument for argument in arguments]
    return changed if changed != arguments else [*arguments, wanted]


@pytest.mark.parametrize("arguments", CHOOSERS, ids=lambda arguments: arguments[0])
def test_an_unknown_snapshot_gets_the_near_ones(shop, call, tmp_path, arguments: list[str]):
    known = shop.first["id"]
    typo = known[:7] + ("0" if known[7] != "0" else "1")
    refused = call(shop.stack, *filled_in(with_snapshot(arguments, typo), tmp_path), "--json")
    assert refused.code == 2
    assert refused.error["message"] == f"there is no snapshot '{typo}'"
    assert known[:8] in refused.error["hint"]
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("arguments", CHOOSERS, ids=lambda arguments: arguments[0])
def test_an_ambiguous_snapshot_gets_all_that_fit(shop, call, tmp_path, arguments: list[str]):
    refused = call(shop.stack, *filled_in(with_snapshot(arguments, ""), tmp_path), "--json")
    assert refused.code == 2
    assert "ambiguous" in refused.error["message"]
    assert [detail.split()[0] for detail in refused.error["details"]] == [shop.first["id"], shop.second["id"]]


@pytest.mark.parametrize("arguments", [*READERS, ["doctor"]], ids=lambda arguments: arguments[0])
def test_words_for_people_are_an_error_line_and_a_hint(shop, call, tmp_path, arguments: list[str]):
    stack = StackDirectory(tmp_path / "new", shop.stack.connections)
    answer = call(stack, *filled_in(arguments, tmp_path))
    told = answer.out if arguments == ["doctor"] else answer.err
    assert "HINT: " in told
    assert answer.code == (1 if arguments == ["doctor"] else 10)


@pytest.mark.parametrize("arguments", READERS, ids=NAMES)
def test_a_repository_that_may_not_be_read(copied_stack, tmp_path, arguments: list[str]):
    command = without_privileges(copied_stack.command(*filled_in(arguments, tmp_path), "--json"))
    copied_stack.place.chmod(0)
    try:
        child = subprocess.run(command, capture_output=True, env=copied_stack.environment, check=False)
    finally:
        copied_stack.place.chmod(0o755)
    refused = Run(child.returncode, child.stdout, child.stderr.decode())
    assert refused.code == 1
    assert refused.error["error"] == "PermissionRefusedError"


def test_a_repository_that_may_only_be_read_can_be_looked_into_and_checked(copied_stack, tmp_path):
    for path in (copied_stack.place, *copied_stack.place.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        for arguments in READERS[:9]:
            command = without_privileges(copied_stack.command(*filled_in(arguments, tmp_path)))
            child = subprocess.run(command, capture_output=True, env=copied_stack.environment, check=False)
            assert child.returncode == 0, (arguments, child.stderr)
        command = without_privileges(copied_stack.command("key", "add", "--recovery", "--json"))
        child = subprocess.run(command, capture_output=True, env=copied_stack.environment, check=False)
        assert Run(child.returncode, child.stdout, "").error["error"] == "PermissionRefusedError"
    finally:
        copied_stack.place.chmod(0o755)


@pytest.mark.parametrize("arguments", CHOOSERS, ids=lambda each: each[0])
def test_a_service_that_nobody_backed_up(arguments: list[str], shop, call, tmp_path):
    refused = call(shop.stack, *filled_in(arguments, tmp_path), "--service", "dd", "--json")
    assert (refused.code, refused.error["message"]) == (2, "there is no snapshot of shop/dd")
    assert "shop/db" in refused.error["hint"]


@pytest.mark.parametrize("way", [[], ["--to", "latest"]], ids=["to its end", "recovering"])
def test_another_stack_than_the_one_that_was_backed_up(way: list[str], copied_stack, call, tmp_path):
    """On a new machine, at night: the words must not say that there is no backup."""
    rewrite(copied_stack, lambda content: content.update(stack="typo"))
    refused = call(copied_stack, "restore", "db", "--target", tmp_path / "target", *way, "--json")
    assert (refused.code, refused.error["message"]) == (2, "there is no snapshot of typo/db")
    assert "shop/db" in refused.error["hint"]
    assert call(copied_stack, "snapshots").out.count("  shop/db  ") == 2
    assert not (tmp_path / "target").exists()


@pytest.fixture(scope="module")
def two_services(shop, tmp_path_factory) -> StackDirectory:
    """A stack with snapshots of two services in one repository."""
    place = tmp_path_factory.mktemp("two") / "copy"
    shutil.copytree(shop.stack.place, place / "repository")
    stack = StackDirectory(place, {"db": shop.cluster.conninfo(), "mail": shop.cluster.conninfo()})
    stack.backup("mail")
    return stack


@pytest.mark.parametrize("arguments", [*CHOOSERS, ["find", "*", "--snapshot", "latest"]], ids=lambda each: each[0])
def test_the_latest_of_several_services_is_not_guessed(arguments: list[str], two_services, call, tmp_path):
    refused = call(two_services, *filled_in(arguments, tmp_path), "--json")
    assert (refused.code, refused.error["message"]) == (2, "'latest' is ambiguous: there are snapshots of db, mail")
    assert refused.error["hint"] == "say which: --service db | --service mail"
    assert call(two_services, *filled_in(arguments, tmp_path), "--service", "db").code == 0


@pytest.mark.parametrize("arguments", CHOOSERS, ids=lambda each: each[0])
def test_the_latest_of_another_stack_is_never_meant(arguments: list[str], shop, copied_stack, call, tmp_path):
    rewrite(copied_stack, lambda content: content.update(stack="typo"))
    refused = call(copied_stack, *filled_in(arguments, tmp_path), "--json")
    assert (refused.code, refused.error["message"]) == (2, "there is no snapshot of the stack typo")
    assert "shop/db" in refused.error["hint"]
    assert call(copied_stack, *filled_in(with_snapshot(arguments, shop.second["id"]), tmp_path)).code == 0


def test_no_room_for_a_dump(shop, tmp_path):
    """A limit on the size of files stands for a full disk: the write fails in its middle."""
    limit = 64 << 10
    wal = f"pg_wal/{shop.second['facts']['wal_segments'][0]}"
    child = subprocess.run(
        shop.stack.command("dump", "latest", wal, "-o", tmp_path / "wal", "--json"),
        capture_output=True,
        env=shop.stack.environment,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    failed = Run(child.returncode, child.stdout, child.stderr.decode())
    assert (failed.code, failed.error["error"]) == (1, "StorageError")
    assert not (tmp_path / "wal").exists()


def test_a_closed_pipe_ends_a_dump_quietly(shop):
    path = f"pg_wal/{shop.second['facts']['wal_segments'][0]}"
    child = subprocess.Popen(
        shop.stack.command("dump", "latest", path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=shop.stack.environment,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.read(100)
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait(60) == 1


def test_a_repository_without_snapshots(call, tmp_path):
    stack = StackDirectory(tmp_path / "empty", {})
    stack.succeed("init")
    for arguments in CHOOSERS:
        refused = call(stack, *filled_in(arguments, tmp_path), "--json")
        assert (refused.code, refused.error["message"]) == (2, "there is no snapshot yet")
    assert call(stack, "find", "*", "--json").messages == []
    assert call(stack, "check", "--read-data").code == 0
    (total,) = call(stack, "stats", "--json").messages
    assert (total["snapshots"], total["dedup_ratio"]) == (0, 1.0)
    assert "0 packs" in call(stack, "stats").out
    shutil.rmtree(stack.place)
