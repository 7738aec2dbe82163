"""Who reads the standard streams, or does not, decides nothing but what is heard."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SCHEMA = [sys.executable, "-m", "holdfast", "config", "schema"]
WRONG = [sys.executable, "-m", "holdfast", "nonsense"]


def shell(redirection: str, command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command by a shell that redirects its streams."""
    run = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )
    assert "Traceback" not in run.stdout + run.stderr, run
    assert "internal error" not in run.stdout + run.stderr, run
    return run


@pytest.mark.parametrize("arguments", [[], ["--json"]], ids=["words", "json"])
@pytest.mark.parametrize(
    ("redirection", "why"), [(">&-", "bad file descriptor"), ("> /dev/full", "no space left on device")]
)
def test_results_that_cannot_be_written_are_an_error(redirection: str, why: str, arguments: list[str]):
    run = shell(redirection, [*SCHEMA, *arguments])
    assert run.returncode == 1
    assert run.stderr.startswith(f"error: cannot write to standard output: {why}\nHINT: ")


@pytest.mark.parametrize("redirection", [">&-", "> /dev/full"])
def test_an_error_that_json_cannot_hold_is_told_in_words(redirection: str):
    run = shell(redirection, [*WRONG, "--json"])
    assert (run.returncode, run.stderr.splitlines()[0]) == (2, "error: no such command 'nonsense'")


@pytest.mark.parametrize("redirection", ["2>&-", "2> /dev/full", "<&-"])
def test_results_come_whoever_listens_elsewhere(redirection: str):
    run = shell(redirection, [*SCHEMA, "--json"])
    assert run.returncode == 0
    assert json.loads(run.stdout)["message_type"] == "config_schema"
    assert shell(redirection, WRONG).returncode == 2


def test_a_reader_who_left_before_the_error_was_written():
    reader, writer = os.pipe()
    os.close(reader)
    run = subprocess.run([*WRONG, "--json"], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writer)
    assert (run.returncode, run.stderr.splitlines()[0]) == (2, "error: no such command 'nonsense'")


def test_a_reader_who_is_slower_than_a_pipe_that_does_not_wait():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    child = subprocess.Popen([*SCHEMA, "--json"], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    whole = shell("", [*SCHEMA, "--json"]).stdout
    with open(reader, "rb") as pipe:
        assert pipe.read().decode() == whole
    assert child.communicate() == (None, b"")
    assert child.returncode == 0


def test_a_file_that_is_opened_never_takes_the_number_of_a_closed_stream():
    code = "import os; from holdfast.cli.streams import make_fit; make_fit(); print(os.open('/etc/passwd', 0))"
    assert int(shell("<&- 2>&-", [sys.executable, "-c", code]).stdout) > 2


def test_characters_that_the_terminal_lacks_are_escaped(tmp_path):
    (tmp_path / "stack.yaml").write_text("stack: shop\nrepositories: {main: {url: /größe, unencrypted: true}}\n")
    command = [sys.executable, "-m", "holdfast", "-c", str(tmp_path / "stack.yaml")]
    run = shell("", [*command, "config", "show"], PYTHONIOENCODING="ascii")
    assert (run.returncode, run.stderr) == (0, "")
    assert "/gr\\xf6\\xdfe" in run.stdout
    failed = shell("", [*command, "snapshots"], PYTHONIOENCODING="ascii")
    assert (failed.returncode, "/gr\\xf6\\xdfe" in failed.stderr) == (10, True)
