"""The tree of errors: as its docstring draws it, each with the exit code that is documented."""

from __future__ import annotations

import ast
import errno
import os
import re
from pathlib import Path

import pytest

from holdfast import errors
from holdfast.errors import DamageError, ExitCode, HoldfastError, reason_of

_DRAWN = re.compile(r"^[\s│├└─]*(?P<name>[A-Z]\w+)\s+(?P<code>\d+)\s{2,}\S", re.MULTILINE)


def all_errors() -> dict[str, type[HoldfastError]]:
    """Return every error of the tree by name."""
    found = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, HoldfastError)]
    return {error.__name__: error for error in found}


def test_the_drawing_is_the_tree() -> None:
    drawn = {match["name"]: int(match["code"]) for match in _DRAWN.finditer(errors.__doc__ or "")}
    drawn |= {name: int(code) for name, code in re.findall(r"(\w+Error)\s+(\d+)\s+\.\.\. ", errors.__doc__ or "")}
    assert drawn == {name: int(error.exit_code) for name, error in all_errors().items()}


def test_every_exit_code_has_its_number() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "DONE": 0, "FAILED": 1, "USAGE": 2, "PARTIAL": 3, "NO_REPOSITORY": 10, "BUSY": 11, "WRONG_KEY": 12,
        "TARGET_NOT_REACHABLE": 13, "VERIFICATION_FAILED": 14, "INTERRUPTED": 130,
    }  # fmt: skip


def test_an_error_carries_its_hint_and_details() -> None:
    error = HoldfastError("it went wrong", hint="do this", details=("one", "two"))
    assert (str(error), error.hint, error.details) == ("it went wrong", "do this", ("one", "two"))


def test_damage_names_the_object_and_says_what_to_do() -> None:
    error = DamageError("index/1", "truncated")
    assert str(error) == "index/1: truncated"
    assert "holdfast check" in (error.hint or "")
    assert DamageError("index/1", "truncated", hint="other").hint == "other"


def unhinted(text: str) -> list[str]:
    """Return the UsageErrors and ConfigErrors that a module makes without a hint, each by its line."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    return [
        f"{call.lineno}: {ast.unparse(call)}"
        for call in calls
        if isinstance(call.func, ast.Name)
        and call.func.id in {"UsageError", "ConfigError"}
        and not any(keyword.arg == "hint" for keyword in call.keywords)
    ]


@pytest.mark.parametrize("room", ["cli", "config"])
def test_what_a_person_typed_or_wrote_wrong_always_gets_a_hint(room: str) -> None:
    source = Path(errors.__file__).parent / room
    assert [f"{path}:{each}" for path in sorted(source.rglob("*.py")) for each in unhinted(path.read_text())] == []


def test_a_missing_hint_would_be_noticed() -> None:
    assert unhinted("raise UsageError('wrong')") == ["1: UsageError('wrong')"]
    assert unhinted("raise ConfigError('wrong', hint='so')") == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/srv"), "no space left on device"),
        (OSError("Not from the system"), "not from the system"),
        (OSError(), "unknown error"),
    ],
)
def test_what_the_operating_system_says_is_said_in_lower_case(error: OSError, reason: str) -> None:
    assert reason_of(error) == reason
