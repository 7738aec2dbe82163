"""What was done in place is written down, whenever its run is interrupted, and is not called interrupted itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from holdfast.errors import HoldfastError
from holdfast.operations.in_place import deeds
from holdfast.operations.in_place.deeds import Deed
from holdfast.progress import Silence
from holdfast.restore.journal import append, new_entry, read_journal
from holdfast.restore.state import StateDirectory

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.repository.journal import JournalEntry
    from holdfast.repository.repository import Repository

ENTRY = new_entry("1" * 32, "shop", "db", "undo", "/data")


class Heard(Silence):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def away() -> Repository:
    raise HoldfastError("the repository is away")


def interrupted() -> Repository:
    raise KeyboardInterrupt


def test_a_repository_that_is_away_makes_the_deed_wait(tmp_path: Path) -> None:
    state, heard = StateDirectory(tmp_path / "state"), Heard()
    with Deed(state, ENTRY, heard, away):
        pass
    assert [each.result for each in read_journal(state)] == ["done"]
    assert "with the next deed: the repository is away" in heard.warnings[0]


@pytest.mark.parametrize("is_written", [False, True])
def test_who_interrupts_while_the_end_is_written_down_does_not_undo_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_written: bool
) -> None:
    state, heard, interruptions = StateDirectory(tmp_path / "state"), Heard(), [KeyboardInterrupt()]

    def append_and_be_interrupted(state: StateDirectory, entry: JournalEntry) -> None:
        is_cut_off = entry.ended and interruptions
        if is_written or not is_cut_off:
            append(state, entry)
        if is_cut_off:
            raise interruptions.pop()

    monkeypatch.setattr(deeds, "append", append_and_be_interrupted)
    with Deed(state, ENTRY, heard, away):
        pass
    assert [each.result for each in read_journal(state)] == ["done"]
    assert heard.warnings[0].endswith("with the next deed: interrupted")


def test_who_does_not_wait_for_the_repository_does_not_undo_it(tmp_path: Path) -> None:
    state, heard = StateDirectory(tmp_path / "state"), Heard()
    with Deed(state, ENTRY, heard, interrupted):
        pass
    assert [each.result for each in read_journal(state)] == ["done"]
    assert heard.warnings[0].endswith("with the next deed: interrupted")
