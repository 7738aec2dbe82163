"""What is read without pydantic is read as typer reads it: the same values, the same complaints."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.core import TyperCommand
from typer.main import get_command

from holdfast.cli import deferred


def sample(
    place: Path = typer.Argument(Path("here"), help="A path."),
    text: str | None = typer.Option(None, "--text", help="A text."),
    word: list[str] = typer.Option([], "--word", help="Words."),
    file: Path | None = typer.Option(None, "--file", dir_okay=False, help="A file."),
    number: int = typer.Option(1, "--number", min=1, max=9, help="A number."),
    seconds: float = typer.Option(2.0, "--seconds", help="A span."),
    yes: bool = typer.Option(False, "--yes", help="A flag."),
    loud: int = typer.Option(0, "--loud", count=True, help="A count."),
) -> list[object]:
    """Return what was understood."""
    return [place, text, word, file, number, seconds, yes, loud]


def by_typer() -> TyperCommand:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command("sample")(sample)
    command = get_command(app)
    assert isinstance(command, TyperCommand)
    return command


def outcome(command: TyperCommand, arguments: list[str]) -> object:
    try:
        return command.main(arguments, standalone_mode=False)
    except typer.TyperException as error:
        return type(error), error.format_message()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "there",
        "there more",
        "--text x --word a --word b",
        "--text=",
        "--text",
        "--file .",
        "--file ..//",
        "--file /nowhere/at/all",
        "--file=",
        "--number 5",
        "--number=0",
        "--number 10",
        "--number x",
        "--seconds 3",
        "--seconds x",
        "--yes --loud --loud",
        "--yes=x",
        "--unknown",
    ],
)
def test_values_and_complaints_are_those_of_typer(line: str, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = outcome(by_typer(), line.split())
    assert outcome(deferred.build_command("sample", sample), line.split()) == expected
