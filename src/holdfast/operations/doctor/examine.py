"""The examination from first to last: the machine, the stack file, each repository, each service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.config.choose import choose_repository
from holdfast.config.load import find_stack_file, load_stack
from holdfast.errors import HoldfastError
from holdfast.operations.doctor.archiving import examine_archiving
from holdfast.operations.doctor.finding import Finding, failed, fine
from holdfast.operations.doctor.identity import examine_identity
from holdfast.operations.doctor.in_place import examine_in_place
from holdfast.operations.doctor.machine import examine_machine
from holdfast.operations.doctor.replication import examine_replication
from holdfast.operations.doctor.repository import examine_repository
from holdfast.operations.doctor.server import examine_service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.repository.snapshot import SnapshotSurvey

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
    surveys: dict[str, SnapshotSurvey | None] = {}
    for name in wanted:
        surveys[name] = yield from examine_repository(f"repository {name}", stack.repositories[name])
    for name, config in stack.services.items():
        repository, _ = choose_repository(stack, service=name)
        if repository not in surveys:
            continue
        examine_server = examine_replication if config.method == "replication" else examine_service
        cluster = yield from examine_server(f"service {name}", config)
        survey = surveys[repository]
        if cluster is not None and survey is not None:
            yield from examine_identity(f"service {name}", stack, name, cluster, survey)
        yield from examine_archiving(f"service {name}", path, stack, name)
        yield from examine_in_place(f"service {name}", stack, name)
