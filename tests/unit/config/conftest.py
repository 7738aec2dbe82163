"""Writes stack files and gives back what loading them says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from holdfast.config.load import load_stack
from holdfast.config.models import Stack
from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

Load = Callable[[str], Stack]
Refuse = Callable[[str], list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a function that loads a stack file with the given text."""

    def load_text(text: str) -> Stack:
        path = tmp_path / "holdfast.yaml"
        path.write_text(text)
        return load_stack(path)

    return load_text


@pytest.fixture
def refuse(load: Load, tmp_path: Path) -> Refuse:
    """Return a function that gives every line of the complaint about a text, without the path, the HINT last."""

    def complain(text: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text)
        lines = [caught.value.message, *caught.value.details, f"HINT: {caught.value.hint}"]
        return [line.replace(f"{tmp_path}/holdfast.yaml:", "") for line in lines]

    return complain
