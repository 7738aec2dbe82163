"""A glob means the same for every byte, with and without a slash in it."""

from __future__ import annotations

import fnmatch
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.operations.finding import matcher

NAMES = st.text(st.sampled_from("ab*?.é"), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("pattern", "path", "is_match"),
    [
        ("1259", b"base/1/1259", True),
        ("1259", b"base/1/1259_fsm", False),
        ("1259*", b"base/1/1259_fsm", True),
        ("1259*", b"1259/other", False),
        ("base/*/1259", b"base/1/1259", True),
        ("base/*", b"base/1/1259", True),
        ("1/1259", b"base/1/1259", False),
        ("[!a-z]*", b"base/1", True),
        ("\udce9t\udce9", b"dir/\xe9t\xe9", True),
        ("?", b"line\n", False),
        ("line?", b"line\n", True),
    ],
)
def test_what_a_pattern_matches(pattern: str, path: bytes, is_match: bool):
    assert matcher(pattern)(path) is is_match


@given(NAMES, NAMES)
def test_a_name_is_matched_as_the_shell_would_byte_by_byte(pattern: str, name: str):
    found = matcher(pattern)(b"some/directory/" + os.fsencode(name))
    assert found is fnmatch.fnmatchcase(os.fsencode(name), os.fsencode(pattern))
