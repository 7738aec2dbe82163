"""What an examination found: one line for people, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.errors import HoldfastError


class State(StrEnum):
    """How it stands."""

    OK = "ok"
    WARNING = "warning"
    """Backups work, but something is weaker or slower than it need be."""
    FAILED = "failed"
    """Something that will be needed does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was examined; ``remedy`` says how to repair it, ``details`` are further lines."""

    subject: str
    state: State
    words: str
    remedy: str | None = None
    details: tuple[str, ...] = ()


def fine(subject: str, words: str, details: tuple[str, ...] = ()) -> Finding:
    """Return the finding that something is as it should be."""
    return Finding(subject, State.OK, words, None, details)


def weak(subject: str, words: str, remedy: str, details: tuple[str, ...] = ()) -> Finding:
    """Return a warning."""
    return Finding(subject, State.WARNING, words, remedy, details)


def failed(subject: str, error: HoldfastError) -> Finding:
    """Return the finding that something does not work, from the error that a run would end with."""
    return Finding(subject, State.FAILED, error.message, error.hint, error.details)
