"""The help page is quick because nothing heavy is imported for it; the real commands are the same ones."""

from __future__ import annotations

import resource
import subprocess
import sys
from importlib import import_module

import pytest

from holdfast.cli.deferred import Command, Subcommands
from holdfast.cli.main import COMMANDS

HEAVY = {"numpy", "psycopg", "pydantic", "obstore", "rich", "cryptography", "msgspec", "yaml", "zstandard", "blake3"}
LIST_MODULES = """
import sys
from holdfast.cli.main import main

code = main(sys.argv[1:])
print(*sys.modules, file=sys.stderr)
sys.exit(code)
"""


def commands(table=COMMANDS, path=()):
    for name, entry in table.items():
        if isinstance(entry, Subcommands):
            yield from commands(entry.commands, (*path, name))
        else:
            yield pytest.param(entry, id=" ".join([*path, name]))


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["config", "--help"], ["config", "show", "--help"], ["check", "--help"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]):
    done = subprocess.run(
        [sys.executable, "-c", LIST_MODULES, *arguments], capture_output=True, text=True, timeout=120, check=True
    )
    imported = {name.partition(".")[0] for name in done.stderr.split()}
    assert "typer" in imported
    assert imported & HEAVY == set()


def spent_by_children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_help_is_quick():
    """The bar is 200 ms, of the processor's time, and in the best of several runs: others may keep the machine busy."""
    spent = []
    for _ in range(7):
        began = spent_by_children_s()
        subprocess.run([sys.executable, "-m", "holdfast", "--help"], capture_output=True, timeout=120, check=True)
        spent.append(spent_by_children_s() - began)
    assert min(spent) < 0.2


@pytest.mark.parametrize("command", list(commands()))
def test_every_entry_of_the_table_leads_to_a_command(command: Command):
    module, _, function = command.target.partition(":")
    assert callable(getattr(import_module(module), function))


@pytest.mark.parametrize("command", list(commands()))
def test_every_line_of_help_is_a_sentence_of_one_line(command: Command):
    assert command.help[0].isupper()
    assert command.help.endswith(".")
    assert len(command.help) <= 80
