"""Which service and which repository a command means; a wrong name gets the near ones."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from holdfast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.config.models import ServiceConfig, Stack
    from holdfast.config.repositories import RepositoryConfig


def choose_service(stack: Stack, name: str) -> ServiceConfig:
    """Return the service of that name. Raises UsageError with the near names."""
    if name not in stack.services:
        raise _unknown("service", name, stack.services)
    return stack.services[name]


def choose_repository(
    stack: Stack, *, asked: str | None = None, service: str | None = None
) -> tuple[str, RepositoryConfig]:
    """Return the repository, with its name: the one asked for (-r), else the service's own, else the only one.

    Raises UsageError when the name is unknown, or when there are several and nothing says which.
    """
    own = choose_service(stack, service).repository if service is not None else None
    name = asked or own or (next(iter(stack.repositories)) if len(stack.repositories) == 1 else None)
    if name is None:
        raise UsageError("there are several repositories", hint=f"say which: -r {' | -r '.join(stack.repositories)}")
    if name not in stack.repositories:
        raise _unknown("repository", name, stack.repositories)
    return name, stack.repositories[name]


def _unknown(noun: str, name: str, known: Iterable[str]) -> UsageError:
    names = list(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    there_are = f"there are: {', '.join(names)}" if names else "the stack file has none"
    return UsageError(f"unknown {noun}: {name}", hint=f"did you mean {near[0]!r}?" if near else there_are)
