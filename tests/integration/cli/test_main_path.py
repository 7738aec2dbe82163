"""The five commands of the first day, as a user types them: each message is as its schema says."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace

import pytest
from tests.integration.backup_restore.stack import StackDirectory
from tests.integration.cli.calling import validator


def told(run) -> dict[str, dict]:
    """Return the messages of a run by type, each held against its schema."""
    assert run.code == 0, str(run)
    for message in run.messages:
        validator(message["message_type"]).validate(message)
    return {message["message_type"]: message for message in run.messages}


def test_from_init_to_restore(shop, tmp_path):
    stack = StackDirectory(tmp_path / "stack", shop.stack.connections)
    assert told(stack.run("init"))["repository_made"]["is_encrypted"] is True
    made = told(stack.run("backup", "db", "--tag", "nightly"))
    assert made["snapshot_made"]["tags"] == ["nightly"]
    assert "progress" in made
    assert told(stack.run("snapshots"))["snapshot"]["id"] == made["snapshot_made"]["id"]
    target, space = tmp_path / "restored", tmp_path / "space"
    arguments = ["restore", "db", "--target", target, "--tablespace", f"fast={space}"]
    plan = told(stack.run(*arguments, "--dry-run"))["restore_plan"]
    assert not target.exists()
    restored = told(stack.run(*arguments))["restored"]
    assert {key: restored[key] for key in plan.keys() - {"message_type", "file_systems"}} == {
        key: plan[key] for key in plan.keys() - {"message_type", "file_systems"}
    }
    assert (target / "global" / "pg_control").exists()
    assert told(stack.run("check", "--read-data"))["check_report"]["is_clean"] is True


def test_an_unencrypted_repository_says_so(tmp_path):
    stack = StackDirectory(tmp_path / "plain", {}, repository={"unencrypted": True})
    made = told(stack.run("init", "--unencrypted"))["repository_made"]
    assert (made["is_encrypted"], made["recovery_identity"]) == (False, None)


@pytest.mark.parametrize(
    ("redirection", "arguments"), [("2> /dev/full", []), ("> /dev/full", ["--json"]), (">&- 2>&-", ["--json"])]
)
def test_a_backup_is_made_though_the_log_is_full(redirection: str, arguments: list[str], shop, tmp_path):
    stack = StackDirectory(tmp_path / "stack", shop.stack.connections)
    stack.succeed("init")
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", *stack.command("backup", "db", *arguments)]
    run = subprocess.run(command, capture_output=True, text=True, env=stack.environment, check=False)
    is_result_lost = not redirection.startswith("2>")
    assert run.returncode == int(is_result_lost), run
    assert "Traceback" not in run.stdout + run.stderr
    assert ("error: cannot write to standard output" in run.stderr) == (redirection == "> /dev/full")
    (snapshot,) = stack.snapshots()
    assert snapshot["is_complete"] is True


@pytest.mark.parametrize("tag", ["", "a b", "a,b", "\x1b[31m", "\udcff"])
def test_a_tag_is_a_word(tag: str, shop, call, tmp_path):
    stack = StackDirectory(tmp_path / "stack", shop.stack.connections)
    refused = call(stack, "backup", "db", f"--tag={tag}", "--json")
    assert (refused.code, refused.error["message"]) == (2, f"not a tag: {tag!a}")


@pytest.mark.parametrize("label", ["two\nlines", "\x1b[31m", "\udcff"])
def test_a_label_is_a_line(label: str, shop, call):
    refused = call(shop.stack, "key", "add", "--recovery", "--label", label, "--json")
    assert (refused.code, refused.error["message"]) == (2, f"not a label: {label!a}")


def test_a_host_whose_name_is_no_text(shop, call, tmp_path, monkeypatch):
    """sethostname(2) takes any bytes."""
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename="caf\udce9"))
    stack = StackDirectory(tmp_path / "stack", shop.stack.connections)
    assert call(stack, "init").code == 0
    assert call(stack, "backup", "db", "--json").message("snapshot_made")["host"] == "caf?"
