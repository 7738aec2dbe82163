"""What the tests of the commands share: results of a call, held against the published schemas, and the sample stack."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.backup_restore.stack import StackDirectory

    from holdfast.postgres.local import LocalCluster

SCHEMAS = Path(__file__).parents[3] / "docs/reference/json"


@dataclass(frozen=True)
class Shop:
    """A cluster, its stack, and the messages of its two backups."""

    cluster: LocalCluster
    stack: StackDirectory
    first: dict[str, Any]
    second: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What one call of the command line gave."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        """Standard output as text."""
        return self.raw.decode()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The JSON messages, each proven to be as its schema says."""
        found = [json.loads(line) for line in self.out.splitlines()]
        for message in found:
            validator(message["message_type"]).validate(message)
        return found

    def message(self, message_type: str) -> dict[str, Any]:
        """The only message of a type."""
        (found,) = [each for each in self.messages if each["message_type"] == message_type]
        return found

    @property
    def error(self) -> dict[str, Any]:
        """The error that the run ended with, which must say what to do next."""
        error = self.message("error")
        assert error["exit_code"] == self.code
        assert error["hint"], error
        return error


@cache
def validator(message_type: str) -> Draft202012Validator:
    """Return the validator of a message type."""
    return Draft202012Validator(json.loads((SCHEMAS / f"{message_type}.json").read_text()))


def rewrite(stack: StackDirectory, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a stack file."""
    content = yaml.safe_load(stack.config.read_text())
    change(content)
    stack.config.write_text(yaml.safe_dump(content))


def without_privileges(command: list[str]) -> list[str]:
    """Return a command that permissions bind, also when the tests run as root: its account without its capabilities."""
    if os.geteuid() != 0:
        return command
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]


def tree(root: Path) -> dict[str, bytes]:
    """Return every file below a directory with its content."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
