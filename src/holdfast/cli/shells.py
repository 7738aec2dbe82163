"""The two options that make Tab work: the shell is named, never guessed.

typer's own options look for the shell among the parents of the process, and ignore the name that is typed behind
them: under sudo, or in a script, the completion of another shell was installed.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated

import typer

from holdfast.errors import HoldfastError, UsageError, reason_of

SHELLS = ("bash", "zsh", "fish")


def learn_to_complete() -> None:
    """Teach typer the words of each shell, where it is a shell that asks what completes a word."""
    if "_HOLDFAST_COMPLETE" in os.environ:
        from typer.completion import get_completion_inspect_parameters

        get_completion_inspect_parameters()  # it does so beside describing the two options of its own


def install_completion(ctx: typer.Context, param: typer.CallbackParam, value: str | None) -> None:
    """Write the script where the shell looks for it, and end, when ``--install-completion`` is given."""
    from typer.completion import install_callback

    try:
        install_callback(ctx, param, _known(ctx, value))
    except OSError as error:
        raise HoldfastError(
            f"cannot write {error.filename}: {reason_of(error)}",
            hint=f"'holdfast --show-completion {value}' prints the script, to be put where the shell reads it",
        ) from error


def show_completion(ctx: typer.Context, param: typer.CallbackParam, value: str | None) -> None:
    """Print the script, and end, when ``--show-completion`` is given."""
    from typer.completion import show_callback

    show_callback(ctx, param, _known(ctx, value))


def _known(ctx: typer.Context, value: str | None) -> str | None:
    if value is None or value in SHELLS or ctx.resilient_parsing:
        return value
    raise UsageError(f"no completion for the shell {value!r}", hint=f"there is one for {', '.join(SHELLS)}")


def _shells(incomplete: str) -> list[str]:
    return [shell for shell in SHELLS if shell.startswith(incomplete)]


_option = partial(typer.Option, metavar="SHELL", is_eager=True, expose_value=False, autocompletion=_shells)

InstallCompletion = Annotated[
    str | None,
    _option(
        "--install-completion",
        callback=install_completion,
        help="Install completion for bash, zsh or fish, for this account.",
    ),
]
ShowCompletion = Annotated[
    str | None,
    _option("--show-completion", callback=show_completion, help="Print the script that --install-completion installs."),
]
