"""The stack file's content, as strict models. The docstring of each key is its reference text and its schema's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from holdfast.config.base import ConfigModel, Name, mistake
from holdfast.config.postgres import PostgresService
from holdfast.config.repositories import RepositoryConfig

if TYPE_CHECKING:
    from typing import Self

ServiceConfig = PostgresService
"""One service, told apart by ``kind``. A second kind makes this a union with ``Field(discriminator="kind")``."""


def _none_as_empty(value: object) -> object:
    """``services:`` with nothing under it is YAML's null; people mean an empty mapping."""
    return {} if value is None else value


class Stack(ConfigModel):
    """The whole stack file."""

    model_config = ConfigDict(json_schema_extra={"$schema": "https://json-schema.org/draft/2020-12/schema"})

    stack: Name
    """The stack's name."""
    repositories: Annotated[dict[Name, RepositoryConfig], Field(min_length=1)]
    """Where backups live, by name."""
    services: Annotated[dict[Name, ServiceConfig], BeforeValidator(_none_as_empty)] = {}
    """What is backed up, by name."""

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        names = ", ".join(self.repositories)
        for name, service in self.services.items():
            if service.repository is None and len(self.repositories) > 1:
                raise mistake(
                    f"service {name} does not say which repository it goes to", hint=f"repository: one of {names}"
                )
            if service.repository is not None and service.repository not in self.repositories:
                raise mistake(
                    f"service {name} goes to an unknown repository: {service.repository}", hint=f"there are: {names}"
                )
        return self
