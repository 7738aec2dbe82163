"""What a check is asked for, apart from what it takes: a command line is understood before numpy is loaded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CheckOptions:
    """How deep: the percentage of packs (0 to 100) whose bytes are compared, and of those that are opened."""

    read_packs_percent: int = 0
    read_data_percent: int = 0
