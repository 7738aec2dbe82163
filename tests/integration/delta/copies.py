"""What delta restores are judged by: every byte, mode and owner of a copy, tablespaces included."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

from tests.integration.cli.calling import validator

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.backup_restore.stack import StackDirectory

    Content = dict[str, tuple[int, int, bytes]]


def content(target: Path) -> Content:
    """Return type and mode, owner, and bytes or link of everything below a copy but the marker, by path."""
    found: Content = {}
    for directory, names, files in os.walk(target, followlinks=True):
        for name in names + files:
            path = os.path.join(directory, name)
            found[os.path.relpath(path, target)] = _facts(path)
    found.pop("holdfast-restore.json")
    return found


def _facts(path: str) -> tuple[int, int, bytes]:
    status = os.lstat(path)
    body = b""
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            body = file.read()
    elif stat.S_ISLNK(status.st_mode):
        body = os.fsencode(os.readlink(path))
    return stat.S_IFMT(status.st_mode) | stat.S_IMODE(status.st_mode), status.st_uid, body


def differences(wanted: Content, found: Content) -> list[str]:
    """Return the paths that are not alike in two copies."""
    return sorted(path for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path))


def delta(stack: StackDirectory, copy: Path, *options: object) -> dict[str, Any]:
    """Run a delta restore that succeeds; return its message."""
    done = stack.succeed("restore", "db", "--target", copy, "--delta", *options).message("delta_restored")
    validator("delta_restored").validate(done)
    return done


def largest(directory: Path) -> Path:
    """Return the largest file below a directory."""
    return max((path for path in directory.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
