"""Results are text for people and exact JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.output import Column, JsonOutput, TextOutput, plain
from holdfast.errors import HoldfastError


class State(Enum):
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    size_bytes: int


ROWS = [Row("db", 5), Row("a-longer-name", 1234567)]
COLUMNS = [
    Column[Row]("NAME", lambda row: row.name),
    Column[Row]("SIZE", lambda row: str(row.size_bytes), is_number=True),
]


def test_a_table_is_aligned(capsys):
    TextOutput().table("row", ROWS, COLUMNS, asdict)
    assert capsys.readouterr().out == "NAME              SIZE\ndb                   5\na-longer-name  1234567\n"


def test_what_others_wrote_does_not_command_the_terminal(capsys):
    """A host that backs up chooses labels, tags and its own name, and who lists them may be root elsewhere."""
    evil, harmless = "\x1b]0;x\x07\x9b2J\n", "\\x1b]0;x\\x07\\x9b2J"
    output = TextOutput()
    output.table("row", [Row(evil, 1)], COLUMNS, asdict)
    assert capsys.readouterr().out.splitlines()[1:] == [f"{harmless}\\n     1"]
    output.emit("row", {}, lambda: f"one\n\t{evil}two")
    assert capsys.readouterr().out == f"one\n\t{harmless}\ntwo\n"
    output.say(evil)
    output.error(HoldfastError(evil, hint=evil, details=(evil,)))
    said = capsys.readouterr().err
    assert said.count(harmless) == 4
    assert "\x1b" not in said


def test_an_empty_table_is_its_titles(capsys):
    TextOutput().table("row", [], COLUMNS, asdict)
    assert capsys.readouterr().out == "NAME  SIZE\n"


def test_a_table_is_one_object_a_row_in_json(capsys):
    JsonOutput().table("row", ROWS, COLUMNS, asdict)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"message_type": "row", "name": "db", "size_bytes": 5},
        {"message_type": "row", "name": "a-longer-name", "size_bytes": 1234567},
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 7, 1, 2, 0, 0, 5, tzinfo=timezone(timedelta(hours=2))), "2026-07-01T00:00:00.000005Z"),
        (datetime(2026, 7, 1, tzinfo=UTC), "2026-07-01T00:00:00Z"),
        (timedelta(minutes=1.5), 90.0),
        (State.COMPLETE, "complete"),
        (Path("/srv/x"), "/srv/x"),
        ((1, None, True), [1, None, True]),
        ({State.COMPLETE: Row("a", 1)}, {"complete": {"name": "a", "size_bytes": 1}}),
        (b"caf\xc3\xa9", "café"),
        (b"\xff", "\udcff"),
        (memoryview(b"x"), "x"),
    ],
)
def test_values_in_json(value: object, expected: object):
    assert plain(value) == expected


@given(st.binary())
def test_any_file_name_survives_json(name: bytes):
    line = json.dumps(plain({"name": name}))
    assert line.isascii()
    assert json.loads(line)["name"].encode("utf-8", "surrogateescape") == name
