"""Try what the stack file names: does each server answer, can each repository be listed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError, NoRepositoryError
from holdfast.operations.wiring import connection_string, make_storage
from holdfast.repository.repository import read_config

if TYPE_CHECKING:
    from holdfast.config.models import PostgresService, RepositoryConfig, Stack


@dataclass(frozen=True)
class Trial:
    """What became of one try: ``answer`` says what was found, or what is wrong; ``hint`` what to do then."""

    subject: str
    works: bool
    answer: str
    hint: str | None = None


def try_everything(stack: Stack) -> list[Trial]:
    """Return a Trial for each repository and service of a stack. A repository that is not made yet is no fault."""
    trials = [_try_repository(f"repository {name}", config) for name, config in stack.repositories.items()]
    return [*trials, *(_try_server(f"service {name}", config) for name, config in stack.services.items())]


def _try_repository(subject: str, config: RepositoryConfig) -> Trial:
    try:
        found = read_config(make_storage(config))
    except NoRepositoryError as error:
        return Trial(subject, works=True, answer="reachable; there is no repository yet", hint=error.hint)
    except HoldfastError as error:
        return Trial(subject, works=False, answer=error.message, hint=error.hint)
    if found.is_encrypted == (config.unencrypted is not None):
        answer = "the stack file and the repository disagree on whether it is encrypted"
        return Trial(subject, works=False, answer=answer, hint="correct the repository's entry in the stack file")
    return Trial(subject, works=True, answer=f"repository {found.id[:8]}, made {found.created}")


def _try_server(subject: str, config: PostgresService) -> Trial:
    from holdfast.postgres.server import Server

    try:
        with Server.connect(connection_string(config)) as server:
            facts = server.probe()
    except HoldfastError as error:
        return Trial(subject, works=False, answer=error.message, hint=error.hint)
    answer = f"PostgreSQL {facts.version}, system identifier {facts.system_identifier}, {facts.data_directory}"
    return Trial(subject, works=True, answer=answer)
