"""An option that may stand alone: what follows it is never taken for its value."""

from __future__ import annotations

import json

import pytest
import typer

from holdfast.cli import deferred
from holdfast.cli.optional_value import BareOptionsCommand


class Sample(BareOptionsCommand):
    bare_values = {"--share": "100"}


@deferred.command_class(Sample)
def sample(
    ctx: typer.Context,
    word: str = typer.Argument("none", help="A word."),
    share: int = typer.Option(0, "--share", help="A share."),
) -> None:
    """Print what was understood."""
    print(json.dumps([word, share]))


@pytest.mark.parametrize(
    ("arguments", "understood"),
    [
        ([], ["none", 0]),
        (["--share"], ["none", 100]),
        (["--share=10"], ["none", 10]),
        (["--share", "word"], ["word", 100]),
        (["word", "--share"], ["word", 100]),
        (["--share", "10"], ["10", 100]),
    ],
)
def test_a_value_is_taken_only_after_an_equals_sign(arguments: list[str], understood: list, capsys):
    deferred.build_command("sample", sample).main(arguments, standalone_mode=False)
    assert json.loads(capsys.readouterr().out) == understood


def test_a_value_that_is_no_number_is_refused():
    with pytest.raises(typer.TyperException, match="valid integer"):
        deferred.build_command("sample", sample).main(["--share=much"], standalone_mode=False)
