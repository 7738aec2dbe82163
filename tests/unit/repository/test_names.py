"""Names are bytes: shown so that a terminal is safe, and typed as people type paths."""

from __future__ import annotations

import ast
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.repository.names import ROOT, is_plain, is_text, shown, typed


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"base/1/1259", "base/1/1259"),
        ("Größe/日本".encode(), "Größe/日本"),
        (b"with space", "with space"),
        (b"line\nend", "line\\nend"),
        (b"\x1b[31mred", "\\033[31mred"),
        (b"latin \xe9", "latin \\351"),
        (b"back\\slash", "back\\\\slash"),
    ],
)
def test_what_a_terminal_must_not_see_is_escaped(path: bytes, text: str):
    assert shown(path) == text


@given(st.binary())
def test_any_name_is_shown_printable_and_can_be_told_from_any_other(path: bytes):
    text = shown(path)
    assert text.isprintable()
    quoted = ast.literal_eval('b"' + "".join(_as_literal(each) for each in text) + '"')
    assert quoted == path


def _as_literal(character: str) -> str:
    if character == '"':
        return '\\"'
    return character if character.isascii() else "".join(f"\\x{byte:02x}" for byte in character.encode())


@pytest.mark.parametrize("words", ["base/1", "/base/1", "./base/1/", "base//1", "/base/./1"])
def test_a_path_may_be_typed_in_many_ways(words: str):
    assert typed(words) == b"base/1"


@pytest.mark.parametrize("words", ["", ".", "/", "./"])
def test_nothing_is_the_root(words: str):
    assert typed(words) == ROOT


@given(
    st.lists(st.sampled_from([b"", b".", b"..", b"...", b"a", b".a", b"a\n", b"\0", b"a\0"]), max_size=4).map(b"/".join)
)
def test_a_plain_path_has_no_part_that_leads_elsewhere(path: bytes):
    leads_elsewhere = {b"", b".", b".."} & set(path.split(b"/"))
    assert is_plain(path) == (path == ROOT or not (leads_elsewhere or b"\0" in path))


@given(st.binary(max_size=6))
def test_a_path_is_text_where_its_bytes_are_utf_8(path: bytes):
    assert is_text(os.fsdecode(path)) == (path.decode("utf-8", "replace").encode() == path)
