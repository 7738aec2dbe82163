"""``holdfast config``: what it prints, in words and as published JSON."""

from __future__ import annotations

import json

import pytest
import yaml
from jsonschema import Draft202012Validator

from holdfast.cli.main import main

CANARY = "canary-77c1-do-not-show"


@pytest.fixture
def stack_file(tmp_path, monkeypatch):
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(CANARY + "\n")
    passphrase.chmod(0o600)
    monkeypatch.setenv("HOLDFAST_TEST_KEY", CANARY)
    path = tmp_path / "holdfast.yaml"
    path.write_text(
        "stack: shop\n"
        "repositories:\n"
        "  main:\n"
        "    url: s3://bucket/prefix\n"
        "    passphrase: {file: passphrase}\n"
        f"    s3: {{access_key_id: {{command: [echo, {CANARY}]}}, secret_access_key: {{env: HOLDFAST_TEST_KEY}}}}\n"
        "services:\n"
        "  db: {kind: postgres, connection: host=/run/postgresql}\n"
    )
    return path


def test_validate_reads_every_secret_and_shows_none(stack_file, capsys, messages):
    assert main(["config", "validate", "--offline", "-c", str(stack_file)]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{stack_file} is valid: stack shop, 1 repository, 1 service, 3 secrets\n"
    assert CANARY not in shown.out + shown.err
    assert main(["config", "validate", "--offline", "-c", str(stack_file), "--json"]) == 0
    [message] = messages()
    assert (message["repositories"], message["services"], message["secrets_read"]) == (["main"], ["db"], 3)


def test_validate_tries_servers_and_repositories(stack_file, capsys, messages):
    repository = stack_file.parent / "repository"
    stack_file.write_text(
        f"stack: shop\nrepositories:\n  main: {{url: {repository}, passphrase: {{file: passphrase}}}}\n"
        "services:\n  db: {kind: postgres, connection: host=/nowhere}\n"
    )
    assert main(["config", "validate", "-c", str(stack_file), "--json"]) == 1
    trials = {trial["subject"]: trial for trial in messages()[-1]["trials"]}
    assert trials["repository main"]["works"]
    assert "no repository yet" in trials["repository main"]["answer"]
    assert not trials["service db"]["works"]
    assert trials["service db"]["hint"]


def test_validate_opens_the_repository(stack_file, capsys, messages):
    """A passphrase can be read and wrong: that is found here, not by the first backup."""
    stack_file.write_text(
        f"stack: shop\nrepositories:\n"
        f"  main: {{url: {stack_file.parent / 'repository'}, passphrase: {{file: passphrase}}}}\n"
    )
    assert main(["init", "-c", str(stack_file)]) == 0
    capsys.readouterr()
    assert main(["config", "validate", "-c", str(stack_file), "--json"]) == 0
    assert "opens; snapshots: 0" in messages()[-1]["trials"][0]["answer"]
    (stack_file.parent / "passphrase").write_text("another\n")
    assert main(["config", "validate", "-c", str(stack_file), "--json"]) == 1
    (trial,) = messages()[-1]["trials"]
    assert (trial["works"], trial["hint"]) == (False, "check the passphrase, or use the recovery identity")
    assert "no key slot" in trial["answer"]


def test_validate_refuses_a_secret_that_cannot_be_read(stack_file, capsys):
    (stack_file.parent / "passphrase").unlink()
    assert main(["config", "validate", "--offline", "-c", str(stack_file)]) == 2
    shown = capsys.readouterr().err
    assert "error: cannot read the secret file" in shown
    assert "HINT: " in shown


@pytest.mark.parametrize(("url", "words"), [("ftp://host/x", "unknown kind"), ("S3://", "no bucket"), ("C:/x", "URL")])
def test_validate_refuses_a_location_that_cannot_be(url: str, words: str, stack_file, capsys):
    stack_file.write_text(f"stack: shop\nrepositories:\n  main: {{url: '{url}', unencrypted: true}}\n")
    assert main(["config", "validate", "--offline", "-c", str(stack_file)]) == 2
    shown = capsys.readouterr().err
    assert words in shown
    assert "HINT: " in shown


def test_show_gives_a_stack_file_without_secrets(stack_file, capsys, messages):
    assert main(["config", "show", "-c", str(stack_file)]) == 0
    shown = capsys.readouterr().out
    assert CANARY not in shown
    content = yaml.safe_load(shown)
    assert content["repositories"]["main"]["s3"]["access_key_id"] == {"command": ["echo", "****"]}
    assert content["repositories"]["main"]["retry_deadline"] == "5m"
    assert main(["config", "show", "-c", str(stack_file), "--json"]) == 0
    assert messages()[0]["config"] == content


def test_schema_is_a_schema_that_the_stack_file_meets(stack_file, capsys, messages):
    assert main(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    Draft202012Validator.check_schema(schema)
    checker = Draft202012Validator(schema)
    content = yaml.safe_load(stack_file.read_text())
    checker.validate(content)
    content["repositories"]["main"]["passphrase"] = {"file": "a", "env": "b"}
    assert not checker.is_valid(content)
    assert main(["config", "schema", "--json"]) == 0
    assert messages()[0]["schema"] == schema


def test_no_stack_file_is_usage(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOLDFAST_CONFIG", raising=False)
    monkeypatch.setattr("holdfast.config.load.PLACES", (tmp_path / "absent.yaml",))
    assert main(["config", "show"]) == 2
    assert capsys.readouterr().err.startswith("error: no stack file")
