"""``holdfast init``: make the repository that the stack file describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from holdfast.cli.invocation import Invocation

if TYPE_CHECKING:
    from holdfast.operations.init import InitResult


def init(
    ctx: typer.Context,
    unencrypted: bool = typer.Option(
        False,
        "--unencrypted",
        help="Make a repository without encryption; the stack file must say so too.",
    ),
) -> None:
    """Make the repository that the stack file describes, and print its recovery identity once."""
    from holdfast.operations.init import init as operation

    run = Invocation.of(ctx)
    result = operation(run.stack(), run.repository, unencrypted=unencrypted)
    run.output.emit("repository_made", result, lambda: _words(result))


def _words(result: InitResult) -> str:
    lines = [f"made repository {result.name} at {result.url} (id {result.repository_id[:8]})"]
    if result.recovery_identity is None:
        return "\n".join([*lines, "NOT ENCRYPTED: anybody who reads this place reads the backups"])
    return "\n".join(
        [
            *lines,
            "",
            "Recovery identity: print this line and lock it away. It opens the repository when the passphrase is lost,",
            "and it is not shown again:",
            "",
            f"  {result.recovery_identity}",
        ]
    )
