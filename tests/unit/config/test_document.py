"""Any text is either read or refused with a ConfigError, and what plain YAML says is what is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from holdfast.config.document import Place, parse
from holdfast.config.load import load_stack
from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

WORDS = st.text("abcdefgh-_/.", min_size=1, max_size=8).filter(lambda word: word[0].isalpha())
SCALARS = st.one_of(st.integers(-999, 999), st.booleans(), st.none(), WORDS)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=12
)
HERE = Path("x.yaml")
VALID = """\
stack: shop
repositories:
  main:
    url: /srv
    passphrase: {env: X}
services:
  db:
    kind: postgres
    connection: host=/run/postgresql
"""


def refusal_of(act: Callable[[], object]) -> str | None:
    """Return what a ConfigError says, or None for what is accepted."""
    try:
        act()
    except ConfigError as error:
        return error.message
    return None


@given(st.dictionaries(WORDS, TREES, min_size=1, max_size=4))
def test_what_yaml_says_is_what_is_read(content: dict):
    assert parse(HERE, yaml.safe_dump(content)).content == content


@pytest.mark.parametrize("digits", ["00110000", "7FFFFFFF", "FFFFFFFF"])
def test_an_escape_that_names_no_character_is_refused(digits: str):
    """PyYAML lets Python's own errors through: it was an internal error."""
    told = refusal_of(lambda: parse(HERE, f'stack: "a\\U{digits}"\n'))
    assert told == "x.yaml:1:12: an escape sequence names no character"


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), min_size=1, max_size=3))
def test_what_json_escapes_is_read(content: dict):
    """A stack file may be made by a program: JSON writes what lies beyond 16 bits as two halves."""
    assert parse(HERE, json.dumps(content)).content == content


@pytest.mark.parametrize("text", ['stack: "\\ud83d"', '"\\ude00": shop', 'stack: ["\\ude00\\ud83d"]'])
def test_half_a_character_is_refused(text: str):
    """No file name, no environment and no JSON can hold it: each was an internal error."""
    assert "an escape sequence names half a character" in (refusal_of(lambda: parse(HERE, text)) or "")


@given(st.dictionaries(WORDS, TREES, min_size=1, max_size=4))
def test_every_value_has_a_place(content: dict):
    text = yaml.safe_dump(content)
    document = parse(HERE, text)
    lines = text.splitlines()
    for location, place in document.keys.items():
        assert lines[place.line - 1][place.column - 1 :].lstrip("'\"").startswith(str(location[-1]))
        assert location in document.values


def test_places_count_from_one():
    document = parse(HERE, "a:\n  - b\n  - {c: d}\n")
    assert document.keys == {("a",): Place(1, 1), ("a", 1, "c"): Place(3, 6)}
    assert document.values[("a", 1, "c")] == Place(3, 9)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str):
    refusal = refusal_of(lambda: parse(HERE, text))
    assert refusal is None or refusal.startswith("x.yaml:")


def test_deep_nesting_is_refused():
    assert "too deeply" in str(refusal_of(lambda: parse(HERE, "[" * 100_000)))


@given(cut=st.tuples(*[st.integers(0, len(VALID))] * 2), junk=st.text(st.characters(codec="utf-8"), max_size=10))
def test_a_broken_stack_file_is_refused_with_a_place(cut: tuple[int, int], junk: str, tmp_path_factory):
    """Cut a valid file anywhere and put anything there: it loads or it is refused; nothing else ever happens."""
    path = tmp_path_factory.mktemp("stack") / "holdfast.yaml"
    path.write_text(VALID[: min(cut)] + junk + VALID[max(cut) :], newline="")
    refusal = refusal_of(lambda: load_stack(path))
    assert refusal is None or refusal.startswith(f"{path}:")
