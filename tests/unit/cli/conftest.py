"""Puts the sample commands into the table of commands, and runs the command line inside the test or as a process."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from holdfast.cli import main as main_module
from holdfast.cli.deferred import Command, Subcommands

SCHEMAS = Path(__file__).parents[3] / "docs/reference/json"
ROOT = Path(__file__).parents[3]
SAMPLES = ("say", "fail", "break_down", "interrupt", "misunderstand", "flood", "work")
TABLE = {
    "try": Subcommands(
        "Samples.", {name: Command(f"tests.unit.cli.sample_commands:{name}", "A sample.") for name in SAMPLES}
    )
}


@pytest.fixture
def samples(monkeypatch):
    monkeypatch.setattr(main_module, "COMMANDS", {**main_module.COMMANDS, **TABLE})


@pytest.fixture
def sample_process():
    """Return the arguments that start a Python process of the command line with the sample commands in it."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        "from holdfast.cli import main; from tests.unit.cli.conftest import TABLE; "
        "from holdfast.cli.interruption import Interruption; main.COMMANDS.update(TABLE)\n"
        "with Interruption() as interruption: main.run(interruption)"
    )
    return [sys.executable, "-c", code]


@pytest.fixture
def messages(capsys):
    """Return a function that gives the JSON messages printed so far, each checked against its published schema."""

    def read() -> list[dict]:
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        for message in found:
            schema = SCHEMAS / f"{message['message_type']}.json"
            if message["message_type"] != "said":
                Draft202012Validator(json.loads(schema.read_text())).validate(message)
        return found

    return read
