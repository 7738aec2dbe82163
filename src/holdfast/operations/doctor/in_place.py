"""What a restore in place needs besides the server: a place for its records, which must not be missing at night."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast.operations.doctor.finding import Finding, fine, weak
from holdfast.operations.in_place.place import service_state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.config.models import Stack


def examine_in_place(subject: str, stack: Stack, service: str) -> Iterator[Finding]:
    """Yield whether the records of restores in place can be written, where the stack file provides for such."""
    if stack.services[service].restore.server is None:
        return
    state = service_state(stack, service).path
    nearest = _nearest(state)
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        yield fine(subject, f"restores in place can be recorded in {state}")
    else:
        yield weak(
            subject,
            f"restores in place cannot be recorded in {state} by this account",
            "make it for the account that restores, or name another one: restore: {state: DIR}",
        )


def _nearest(path: Path) -> Path:
    """Return the path, or what is there of those above it."""
    return next(each for each in (path, *path.parents) if os.path.lexists(each))
