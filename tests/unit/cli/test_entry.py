"""Which command lines take the short way; all others must reach the full one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from holdfast.cli.entry import parse_short

HEAVY = ("typer", "pydantic", "yaml", "numpy", "psycopg", "rich", "obstore", "click", "hashlib", "secrets", "shutil")
LATE = ("typing", "enum", "re", "contextlib", "zstandard", "msgspec", "holdfast.errors", "holdfast.wal.reading")
SLOW = ("dataclasses", "inspect", "typing_extensions", "ast", "json", "pathlib", "logging", "tempfile")


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("wal push db pg_wal/1 --settings s", ("push", "db", ("pg_wal/1",), "s")),
        ("-c f wal push db p --settings s", ("push", "db", ("p",), "s")),
        ("wal push --settings s db p", ("push", "db", ("p",), "s")),
        ("--config f wal serve db --settings s", ("serve", "db", (), "s")),
        ("wal push db p", None),
        ("wal push db p --settings", None),
        ("wal push --settings s", None),
        ("wal push db p --settings s --json", None),
        ("wal push db p --settings s -q", None),
        ("wal push --help --settings s", None),
        ("wal status db --settings s", None),
        ("backup db --settings s", None),
        ("", None),
    ],
)
def test_the_form_of_a_short_call(line: str, call: tuple[str, str, tuple[str, ...], str] | None):
    parsed = parse_short(line.split())
    assert (parsed and (parsed.command, parsed.service, parsed.operands, parsed.settings)) == call


def test_a_cold_push_begins_to_read_before_anything_that_takes_time_is_loaded():
    program = (
        "import sys; import holdfast.cli.entry, holdfast.operations.wal.cold_push; "
        f"print([name for name in {LATE} if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


def test_the_short_way_imports_nothing_heavy():
    program = (
        "import sys; import holdfast.cli.entry, holdfast.operations.wal.cold_push, holdfast.operations.wal.push; "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


def test_a_cold_push_loads_little_and_what_it_hid_can_be_loaded_afterwards():
    program = (
        "import sys; from holdfast.errors import ConfigError; from holdfast.operations.wal.cold_push import run_short\n"
        "try: run_short('db', ('/nowhere/wal',), '/nowhere/settings')\n"
        f"except ConfigError: print([name for name in {HEAVY + SLOW} if name in sys.modules])\n"
        "import typing_extensions; from holdfast.config.load import Path, parse_stack\n"  # renewed settings need them
        "print(parse_stack(Path('f'), 'stack: s\\nrepositories: {a: {url: /a, unencrypted: true}}').stack)"
    )
    answer = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\ns\n"


def test_an_error_of_the_short_way_is_said_as_everywhere():
    command = [sys.executable, "-m", "holdfast", "wal", "push", "db", "p", "--settings", "/nowhere/settings"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: cannot read /nowhere/settings: no such file or directory\nHINT: ")
