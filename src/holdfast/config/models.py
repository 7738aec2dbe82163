"""The stack file's content, as strict models. The docstring of each key is its reference text and its schema's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from holdfast.config.base import Before, ConfigModel, MistakeError, Name
from holdfast.config.postgres import PostgresConfig
from holdfast.config.repositories import RepositoryConfig

if TYPE_CHECKING:
    from pathlib import Path

ServiceConfig = PostgresConfig
"""One service, told apart by ``kind``. A second kind makes this a union: let the reader choose by that word."""


def _none_as_empty(value: object, _: Path) -> object:
    """``services:`` with nothing under it is YAML's null; people mean an empty mapping."""
    return {} if value is None else value


class Stack(ConfigModel, frozen=True):
    """The whole stack file."""

    SCHEMA: ClassVar[Mapping[str, object]] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}

    stack: Name
    """The stack's name."""
    repositories: Annotated[dict[Name, RepositoryConfig], Meta(min_length=1)]
    """Where backups live, by name."""
    services: Annotated[dict[Name, ServiceConfig], Before(_none_as_empty)] = {}
    """What is backed up, by name."""

    def check(self) -> None:
        """Require that each service says where it goes, and goes to what there is."""
        names = ", ".join(self.repositories)
        for name, service in self.services.items():
            if service.repository is None and len(self.repositories) > 1:
                raise MistakeError(
                    f"service {name} does not say which repository it goes to", hint=f"repository: one of {names}"
                )
            if service.repository is not None and service.repository not in self.repositories:
                raise MistakeError(
                    f"service {name} goes to an unknown repository: {service.repository}", hint=f"there are: {names}"
                )
