"""The examination from first to last: the machine, the stack file, each repository, each service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.config.choose import choose_repository
from holdfast.config.load import find_stack_file, load_stack
from holdfast.errors import HoldfastError
from holdfast.operations.doctor.archiving import examine_archiving
from holdfast.operations.doctor.finding import Finding, failed, fine
from holdfast.operations.doctor.machine import examine_machine
from holdfast.operations.doctor.replication import examine_replication
from holdfast.operations.doctor.repository import examine_repository
from holdfast.operations.doctor.server import examine_service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.config.models import Stack

_STACK_FILE = "stack file"


def examine(explicit: Path | None, asked: str | None) -> Iterator[Finding]:
    """Yield findings as they are made; ``asked`` restricts the examination to one repository and its services.

    Nothing is raised for what is wrong with the stack, and nothing is left behind in it.
    """
    yield from examine_machine()
    try:
        path = find_stack_file(explicit)
        stack = load_stack(path)
        wanted = [choose_repository(stack, asked=asked)[0]] if asked else list(stack.repositories)
    except HoldfastError as error:
        yield failed(_STACK_FILE, error)
        return
    yield fine(_STACK_FILE, f"{path} describes the stack {stack.stack}")
    for name in wanted:
        yield from examine_repository(f"repository {name}", stack.repositories[name])
    for name in _services_of(stack, wanted):
        config = stack.services[name]
        examine_server = examine_replication if config.method == "replication" else examine_service
        yield from examine_server(f"service {name}", config)
        yield from examine_archiving(f"service {name}", path, stack, name)


def _services_of(stack: Stack, repositories: list[str]) -> list[str]:
    return [name for name in stack.services if choose_repository(stack, service=name)[0] in repositories]
