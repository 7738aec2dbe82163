"""Which timelines were left, from the journals of this machine and of the repository together."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest
from tests.unit.repository.test_journal import entry
from tests.unit.wal.worlds import Archive, history_of

from holdfast.config.load import load_stack
from holdfast.operations.in_place.place import service_state
from holdfast.operations.left_timelines import timelines_left
from holdfast.restore.journal import append
from holdfast.storage.memory import MemoryStorage
from holdfast.wal.coverage import survey

STACK = """
stack: shop
repositories:
  main: {{url: {directory}/repository, unencrypted: true}}
services:
  db:
    kind: postgres
    connection: host=/run/postgresql
    restore: {{state: {directory}/state}}
"""


@pytest.fixture
def stack(tmp_path):
    path = tmp_path / "holdfast.yaml"
    path.write_text(STACK.format(directory=tmp_path))
    return load_stack(path)


def deed(number, was, became, begun):
    return msgspec.structs.replace(
        entry(number),
        id=f"{number:032x}",
        stack="shop",
        service="db",
        begun=begun,
        identity_was=f"7/{was}",
        identity_became=f"7/{became}",
        result="done",
    )


def test_an_undo_counts_though_the_clock_was_set_back_before_it(stack):
    archive = Archive()
    archive.add_segments(1, 2, 3, 4)
    archive.add_segments(2, 3, 4)
    archive.add_history(history_of((1, archive.at(3.5)), (2, None)))
    lineage = survey(archive, (), archive.segment_size).lineage
    state = service_state(stack, "db")
    append(state, deed(1, 1, 2, "2026-11-21T12:00:00.000000+00:00"))
    append(state, deed(2, 2, 1, "2026-11-21T11:00:00.000000+00:00"))
    empty = SimpleNamespace(storage=MemoryStorage(), keys=None)
    assert timelines_left(stack, "db", empty, "7", lineage) == {2}
