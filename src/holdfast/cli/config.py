"""``holdfast config``: the stack file, checked, shown, described, written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.invocation import Invocation
from holdfast.errors import ExitCode

if TYPE_CHECKING:
    from holdfast.config.models import Stack
    from holdfast.operations.validate import Trial


@dataclass(frozen=True, slots=True)
class Validated:
    """The JSON message ``config_validated``."""

    file: str
    stack: str
    repositories: tuple[str, ...]
    services: tuple[str, ...]
    secrets_read: int
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class Generated:
    """The JSON message ``config_generated``; ``file`` is None when nothing was asked to be written."""

    file: str | None
    text: str


def generate(
    ctx: typer.Context,
    connection: Annotated[
        str, typer.Option(metavar="CONNINFO", help="How to reach the server, as libpq writes it, without a password.")
    ] = "host=/run/postgresql user=postgres dbname=postgres",
    password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The file that holds the role's password, where one is needed.")
    ] = None,
    stack: Annotated[str, typer.Option(metavar="NAME", help="The stack's name.")] = "main",
    url: Annotated[
        str, typer.Option(metavar="URL", help="Where the repository will be: a directory, or s3://bucket/prefix.")
    ] = "/srv/holdfast",
    passphrase_file: Annotated[
        Path, typer.Option(metavar="FILE", help="The file that will hold the repository's passphrase.")
    ] = Path("/etc/holdfast/passphrase"),
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write a new file, not to standard output.")
    ] = None,
) -> None:
    """Ask the running server and write a commented stack file, ready for 'holdfast init'."""
    from holdfast.config.draft import Draft, write_new
    from holdfast.operations.generate import generate as draft_text

    run = Invocation.of(ctx)
    text = draft_text(Draft(stack, url, passphrase_file, connection, password_file))
    if output is None:
        run.output.emit("config_generated", Generated(None, text), lambda: text.rstrip("\n"))
        return
    write_new(output, text)
    run.output.emit("config_generated", Generated(str(output), text), lambda: f"wrote {output}")


def validate(
    ctx: typer.Context,
    offline: Annotated[
        bool, typer.Option("--offline", help="Only read the file and its secrets; connect to nothing.")
    ] = False,
) -> int:
    """Check the stack file: what it says, every secret, and that servers and repositories answer."""
    from holdfast.config.load import find_stack_file, load_stack
    from holdfast.config.show import secret_sources

    run = Invocation.of(ctx)
    path = find_stack_file(run.config)
    stack = load_stack(path)
    sources = list(secret_sources(stack))
    for name, source in sources:
        run.output.say(f"reading the secret {name} ({source})")
        source.read()
    trials = _look(stack) if offline else _try(stack)
    result = Validated(str(path), stack.stack, tuple(stack.repositories), tuple(stack.services), len(sources), trials)
    run.output.emit("config_validated", result, lambda: _words(result))
    return ExitCode.DONE if all(trial.works for trial in trials) else ExitCode.FAILED


def show(ctx: typer.Context) -> None:
    """Print the stack file as it was understood: defaults filled in, secrets masked."""
    from holdfast.config.show import as_mapping, as_yaml

    run = Invocation.of(ctx)
    stack = run.stack()
    run.output.emit("config", {"config": as_mapping(stack)}, lambda: as_yaml(stack))


def schema(ctx: typer.Context) -> None:
    """Print the JSON Schema of the stack file, for editors that complete and check YAML."""
    import json

    from holdfast.config.models import Stack
    from holdfast.config.schema import json_schema

    document = json_schema(Stack)
    Invocation.of(ctx).output.emit("config_schema", {"schema": document}, lambda: json.dumps(document, indent=2))


def _look(stack: Stack) -> tuple[Trial, ...]:
    from holdfast.operations.validate import require_locations

    require_locations(stack)
    return ()


def _try(stack: Stack) -> tuple[Trial, ...]:
    from holdfast.operations.validate import try_everything

    return tuple(try_everything(stack))


def _words(result: Validated) -> str:
    lines = [f"{result.file} is valid: {_summary(result)}"]
    for trial in result.trials:
        lines.append(f"  {trial.subject}: {'ok' if trial.works else 'FAILED'}: {trial.answer}")
        if trial.hint and not trial.works:
            lines.append(f"    HINT: {trial.hint}")
    return "\n".join(lines)


def _summary(result: Validated) -> str:
    from holdfast.cli.text import count

    return ", ".join(
        [
            f"stack {result.stack}",
            count(len(result.repositories), "repository", "repositories"),
            count(len(result.services), "service"),
            count(result.secrets_read, "secret"),
        ]
    )
