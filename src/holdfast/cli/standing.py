"""How far a piece of work has come, as values and in words: what every way of showing progress starts from."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.cli import text


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the present phase has come; the payload of the JSON message ``progress``."""

    phase: str
    done_bytes: int
    total_bytes: int | None
    elapsed_s: float
    bytes_per_s: float
    remaining_s: float | None


def sentence(standing: Standing) -> str:
    """Return a standing in words: ``copying files: 1.2 GiB of 3.4 GiB (35%), 410.0 MiB/s, 5.40 s left``.

    A phase that has just begun has no speed yet: ``copying files: 3.4 GiB``.
    """
    if not standing.done_bytes:
        return f"{standing.phase}: {text.size(standing.total_bytes)}" if standing.total_bytes else standing.phase
    words = f"{standing.phase}: {text.size(standing.done_bytes)}"
    if standing.total_bytes:
        share = min(1.0, standing.done_bytes / standing.total_bytes)
        words += f" of {text.size(standing.total_bytes)} ({share:.0%})"
    words += f", {text.rate(standing.bytes_per_s)}"
    if standing.remaining_s is not None:
        words += f", {text.duration(standing.remaining_s)} left"
    return words
