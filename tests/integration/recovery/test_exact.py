"""Recovery to seeded targets of every kind on four timelines: exactly what had been committed is there, each time."""

from __future__ import annotations

import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from tests.integration.recovery.conftest import SEED
from tests.integration.recovery.world import xids_of

from holdfast.operations.recovery.run import recovered
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.timeline import Timeline
from holdfast.progress import Silence
from holdfast.restore.target import Goal, LsnGoal, NameGoal, RecoveryTarget, TimeGoal, XidGoal

if TYPE_CHECKING:
    from tests.integration.recovery.conftest import Past
    from tests.integration.recovery.world import Truth

TIMELINES = (1, 2, 3, 4)
RECOVERIES_AT_ONCE = 3


@dataclass(frozen=True)
class Case:
    """A target, and the transactions that must be there: no more, no fewer."""

    target: RecoveryTarget
    xids: frozenset[int]


def cases(past: Past, count: int) -> list[Case]:
    """Draw targets of all kinds on all timelines."""
    dice = random.Random(SEED)
    truths = {timeline: past.world.truth(timeline) for timeline in TIMELINES}
    first = min(Lsn.parse(each["facts"]["stop_lsn"]) for each in past.stack.snapshots())
    drawn: list[Case] = []
    while len(drawn) < count:
        timeline = TIMELINES[len(drawn) % len(TIMELINES)]
        case = draw(past, truths[timeline], first, dice)
        if case is not None:
            drawn.append(replace(case, target=replace(case.target, timeline=Timeline(timeline))))
    return drawn


def draw(past: Past, truth: Truth, first: Lsn, dice: random.Random) -> Case | None:
    """Draw one target after a position; None where the WAL does not go far enough to stop there."""
    end = dice.choice([each for each in truth.ends if each.lsn > first])
    is_inclusive = dice.random() < 0.5
    goal: Goal
    match dice.choice(["time", "lsn", "xid", "name"]):
        case "time":
            goal = TimeGoal(end.time + timedelta(microseconds=dice.choice([-1, 0, 0, 1, dice.randrange(5000)])))
            later = (
                e.lsn for e in truth.ends if e.lsn > first and e.time >= goal.at + timedelta(microseconds=is_inclusive)
            )
        case "lsn":
            goal = LsnGoal(dice.choice([end.lsn, Lsn(end.lsn + dice.randrange(200)), dice.choice(truth.records)]))
            if goal.lsn <= first:
                return None
            later = (
                lsn for lsn in truth.records if (lsn > _record_of(truth, goal.lsn) if is_inclusive else lsn >= goal.lsn)
            )
        case "xid":
            if not end.is_commit:
                return None
            goal = XidGoal(end.xid)
            later = (lsn for lsn in truth.records if (lsn > end.lsn if is_inclusive else lsn >= end.lsn))
        case _:
            name, lsn = dice.choice(sorted(truth.points.items()))
            goal, is_inclusive = NameGoal(name), True
            later = (each for each in truth.records if each > lsn)
    stop = next(later, None)
    if stop is None:
        return None
    committed = {e.xid for e in truth.ends if e.is_commit and e.lsn < stop}
    return Case(RecoveryTarget(goal, is_inclusive=is_inclusive), frozenset(committed & past.world.attempted))


def _record_of(truth: Truth, lsn: Lsn) -> Lsn:
    """Return the record at which an inclusive target halts."""
    return next((each for each in truth.records if each >= lsn), truth.records[-1])


def require_all_exact(past: Past, count: int) -> None:
    drawn = cases(past, count)
    with ThreadPoolExecutor(RECOVERIES_AT_ONCE) as pool:  # most of the time a server waits to be stopped
        list(pool.map(lambda numbered: require_exact(past, numbered[1], numbered[0]), enumerate(drawn)))


def require_exact(past: Past, case: Case, number: int) -> None:
    prepared = past.prepare(case.target, past.directory / f"target{number}")
    directory = past.restored(prepared)
    with recovered(prepared, directory, Silence()) as server:
        found = xids_of(server.conninfo())
    shutil.rmtree(directory)
    missing, surplus = sorted(case.xids - found), sorted(found - case.xids)
    assert (missing, surplus) == ([], []), f"{case.target} on {case.target.timeline}: {server.reached}"


def test_what_was_acknowledged_is_in_the_wal(past: Past):
    ends = {end.xid for timeline in TIMELINES for end in past.world.truth(timeline).ends if end.is_commit}
    assert len(past.world.acknowledged) > 500
    assert past.world.acknowledged <= ends


@pytest.mark.timeout(600)
def test_fifty_targets_are_met_exactly(past: Past):
    require_all_exact(past, 50)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_hundred_targets_are_met_exactly(past: Past):
    require_all_exact(past, 200)
