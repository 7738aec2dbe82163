"""What a terminal may see."""

from __future__ import annotations

import pytest

from holdfast.cli.dump import is_text


@pytest.mark.parametrize("part", [b"", b"15\n", "# Größe\r\n\t".encode(), b"latin \xe9"])
def test_plain_text(part: bytes):
    assert is_text(part)


@pytest.mark.parametrize("part", [b"\0", b"text\x1b[31m", b"bell\x07", b"\x7f"])
def test_what_would_command_the_terminal(part: bytes):
    assert not is_text(part)
