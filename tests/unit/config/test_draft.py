"""The first stack file is one that loads, whatever names and paths go into it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.config.draft import Draft, render, write_new
from holdfast.config.load import parse_stack
from holdfast.errors import ConfigError

HERE = Path("/etc/holdfast/holdfast.yaml")
PATHS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20).map(
    lambda name: f"/{name}"
)
CONNECTIONS = st.text(st.characters(codec="utf-8", exclude_characters="="), min_size=1, max_size=30)


@given(PATHS, CONNECTIONS, PATHS, st.none() | PATHS)
def test_what_goes_in_comes_out(url: str, connection: str, passphrase: str, password: str | None):
    draft = Draft("shop", url, Path(passphrase), connection, Path(password) if password else None)
    stack = parse_stack(HERE, render(draft, ["a remark", "of two\nlines"]))
    assert stack.services["db"].connection == connection
    assert stack.repositories["main"].url == str(Path(url))
    source = stack.repositories["main"].passphrase
    assert source is not None
    assert source.file == Path(passphrase)
    given_password = stack.services["db"].password
    assert (given_password.file if given_password else None) == (Path(password) if password else None)


def test_remarks_are_comments():
    text = render(Draft("shop", "/srv", Path("/p"), "host=h"), ["PostgreSQL 15", "kind: redis"])
    assert "  # PostgreSQL 15\n  # kind: redis\n  db:\n" in text


def test_a_file_that_is_there_is_not_overwritten(tmp_path):
    write_new(tmp_path / "a.yaml", "one\n")
    with pytest.raises(ConfigError, match="is there already"):
        write_new(tmp_path / "a.yaml", "two\n")
    assert (tmp_path / "a.yaml").read_text() == "one\n"
    with pytest.raises(ConfigError, match="cannot write"):
        write_new(tmp_path / "absent" / "a.yaml", "two\n")
