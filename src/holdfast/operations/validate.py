"""Try what the stack file names: does each server answer, does each repository open, can it be listed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError, NoRepositoryError, ServerError
from holdfast.operations.wiring import connection_string, make_cache, make_storage, make_unlock
from holdfast.repository.opening import open_repository

if TYPE_CHECKING:
    from holdfast.config.models import Stack
    from holdfast.config.postgres import PostgresConfig
    from holdfast.config.repositories import RepositoryConfig
    from holdfast.postgres.facts import ServerFacts


@dataclass(frozen=True)
class Trial:
    """What became of one try: ``answer`` says what was found, or what is wrong; ``hint`` what to do then."""

    subject: str
    works: bool
    answer: str
    hint: str | None = None


def require_locations(stack: Stack) -> None:
    """Raise UsageError for the first repository whose url or storage options cannot be; nothing is connected to."""
    for config in stack.repositories.values():
        make_storage(config)


def try_everything(stack: Stack) -> list[Trial]:
    """Return a Trial for each repository and service of a stack. A repository that is not made yet is no fault.

    A repository is opened and its snapshots are listed: a passphrase that is read, and wrong, is found out here.
    """
    trials = [_try_repository(f"repository {name}", config) for name, config in stack.repositories.items()]
    return [*trials, *(_try_server(f"service {name}", config) for name, config in stack.services.items())]


def _try_repository(subject: str, config: RepositoryConfig) -> Trial:
    try:
        repository = open_repository(make_storage(config), make_unlock(config), make_cache)
        count = len(repository.survey_snapshots().snapshots)
    except NoRepositoryError as error:
        return Trial(subject, works=True, answer="reachable; there is no repository yet", hint=error.hint)
    except HoldfastError as error:
        return Trial(subject, works=False, answer=error.message, hint=error.hint)
    made = repository.config
    return Trial(
        subject, works=True, answer=f"repository {made.id[:8]}, made {made.created}, opens; snapshots: {count}"
    )


def _try_server(subject: str, config: PostgresConfig) -> Trial:
    from holdfast.postgres.server import Server

    if config.method == "replication":
        return _try_replication(subject, config)
    try:
        with Server.connect(connection_string(config)) as server:
            facts = server.probe()
    except HoldfastError as error:
        return Trial(subject, works=False, answer=error.message, hint=error.hint)
    answer = f"PostgreSQL {facts.version}, system identifier {facts.system_identifier}, {facts.data_directory}"
    return _with_summaries(Trial(subject, works=True, answer=answer), config, facts)


def _with_summaries(trial: Trial, config: PostgresConfig, facts: ServerFacts) -> Trial:
    """Return the trial of a server; it also says if WAL summaries are wanted, and cannot be followed."""
    from holdfast.services.postgres.summary_hint import require_summaries_fit

    try:
        if config.wal_summaries == "hint":
            require_summaries_fit(facts)
    except ServerError as error:
        answer = f"{trial.answer}; WAL summaries cannot be followed: {error.message}"
        return replace(trial, answer=answer, hint=error.hint)
    return trial


def _try_replication(subject: str, config: PostgresConfig) -> Trial:
    from holdfast.postgres.replication import ReplicationConnection

    try:
        with ReplicationConnection.connect(connection_string(config), "holdfast") as connection:
            version, system = connection.setting("server_version"), connection.identify()
    except HoldfastError as error:
        return Trial(subject, works=False, answer=error.message, hint=error.hint)
    answer = f"PostgreSQL {version}, system identifier {system.system_identifier}, by replication"
    return Trial(subject, works=True, answer=answer)
