"""Asking a person, in front of what cannot be taken back: the name of the service is to be typed, as for no other."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from holdfast.errors import InterruptedRunError, UsageError

if TYPE_CHECKING:
    from holdfast.cli.invocation import Invocation


def require_agreement(run: Invocation, service: str, what: str, consequence: str) -> None:
    """Let the operator type the service's name, having read the consequence.

    UsageError where nobody is there to agree to ``what``, or the name is another; InterruptedRunError at Ctrl-C.
    """
    if run.json or not sys.stdin.isatty():
        raise UsageError(f"{what}, and nobody is there to agree", hint="say so with --yes")
    try:
        typed = typer.prompt(f"{service}: {consequence}. Type its name to go on", err=True)
    except typer.Abort:
        raise InterruptedRunError("nothing was changed", hint="run the same command again") from None
    if typed.strip() != service:
        raise UsageError(f"{typed.strip()!r} is not {service!r}; nothing was changed", hint="type the very name")
