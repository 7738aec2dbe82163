"""What the demo shows, and to whom: the command line implements a Stage, and so may the web page."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Verdict(Enum):
    """What came of one proof."""

    PROVEN = "proven"
    FAILED = "failed"
    NOT_SHOWN = "not shown"
    """The program that would show it is not on this machine."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One thing that must be true of the restored cluster; ``text`` says what was found."""

    verdict: Verdict
    text: str
    seconds: float = 0.0


class Stage(Protocol):
    """Where the demo happens before the user's eyes."""

    def chapter(self, title: str) -> None:
        """Begin a part."""
        ...

    def say(self, text: str) -> None:
        """Say what is done, or what came of it."""
        ...

    def run(self, arguments: Sequence[str]) -> None:
        """Show a ``holdfast`` command line and carry it out as if it had been typed; raises what it raises."""
        ...

    def show(self, proof: Proof) -> None:
        """Show what came of a proof."""
        ...
