"""Groups wait for one another, so memory is bounded; a failure lets nobody wait."""

from __future__ import annotations

import queue
import threading

import pytest
from tests.unit.restore.test_assembly_plan import planned

from holdfast.restore.assembly import GROUPS_AT_ONCE, Assembly
from holdfast.restore.assembly_plan import REGION_BYTES, AssemblyPlan


def halves(count: int) -> AssemblyPlan:
    """Return the plan of a file of ``count`` regions, each in two pieces of chunks of their own."""
    half = REGION_BYTES // 2
    return planned([[(number, number * half, half, 0) for number in range(2 * count)]])


def test_a_group_waits_until_another_is_written_or_a_thread_has_ended() -> None:
    """So memory is bounded, and a failure ends all threads."""
    plan = halves(32 * (GROUPS_AT_ONCE + 2))
    groups = [group for group, _ in plan.groups()]
    assert len(groups) == GROUPS_AT_ONCE + 2
    assembly, admitted = Assembly(plan), queue.Queue[int]()

    def admit_all() -> None:
        for group in groups:
            assembly.admit(group)
            admitted.put(group)

    thread = threading.Thread(target=admit_all)
    thread.start()
    assert [admitted.get(timeout=60) for _ in range(GROUPS_AT_ONCE)] == groups[:GROUPS_AT_ONCE]
    with pytest.raises(queue.Empty):
        admitted.get(timeout=0.05)
    assembly.release(groups[1])
    assert admitted.get(timeout=60) == groups[GROUPS_AT_ONCE]
    assembly.close()
    assert admitted.get(timeout=60) == groups[GROUPS_AT_ONCE + 1]
    thread.join(60)
    assert not thread.is_alive()


def test_who_brings_the_last_chunk_is_told_and_memory_is_used_again() -> None:
    plan = halves(64)
    (first, _), (second, _) = plan.groups()
    assembly = Assembly(plan)
    assembly.admit(first)
    memory = assembly.memory(first)
    assert [assembly.bring(first, count) for count in (1, 60, 3)] == [False, False, True]
    assembly.release(first)
    assembly.admit(second)
    assert assembly.memory(second) is memory


def test_a_group_without_anything_to_put_together_waits_for_nobody() -> None:
    plan = planned([[(number, number * REGION_BYTES, REGION_BYTES, 0) for number in range(5)]])
    assembly = Assembly(plan)
    for _ in range(2 * GROUPS_AT_ONCE):
        assembly.admit(0)
