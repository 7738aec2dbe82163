"""``holdfast config``: the stack file, checked, shown, described, written."""

from __future__ import annotations

from dataclasses import dataclass

import typer

from holdfast.cli.invocation import Invocation


@dataclass(frozen=True, slots=True)
class Validated:
    """The JSON message ``config_validated``."""

    file: str
    stack: str
    repositories: tuple[str, ...]
    services: tuple[str, ...]
    secrets_read: int


def validate(ctx: typer.Context) -> None:
    """Check the stack file: what it says, and that every secret it names can be read."""
    from holdfast.config.load import find_stack_file, load_stack
    from holdfast.config.show import secret_sources

    run = Invocation.of(ctx)
    path = find_stack_file(run.config)
    stack = load_stack(path)
    sources = list(secret_sources(stack))
    for name, source in sources:
        run.output.say(f"reading the secret {name} ({source})")
        source.read()
    result = Validated(str(path), stack.stack, tuple(stack.repositories), tuple(stack.services), len(sources))
    run.output.emit("config_validated", result, lambda: f"{path} is valid: {_summary(result)}")


def show(ctx: typer.Context) -> None:
    """Print the stack file as it was understood: defaults filled in, secrets masked."""
    from holdfast.config.load import find_stack_file, load_stack
    from holdfast.config.show import as_mapping, as_yaml

    run = Invocation.of(ctx)
    stack = load_stack(find_stack_file(run.config))
    run.output.emit("config", {"config": as_mapping(stack)}, lambda: as_yaml(stack))


def schema(ctx: typer.Context) -> None:
    """Print the JSON Schema of the stack file, for editors that complete and check YAML."""
    import json

    from holdfast.config.models import Stack

    document = Stack.model_json_schema()
    Invocation.of(ctx).output.emit("config_schema", {"schema": document}, lambda: json.dumps(document, indent=2))


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
