"""SIGKILL at every crash point of push and serve: nothing is falsely acknowledged, and the next one goes on."""

from __future__ import annotations

import json
import os
import signal

import pytest
from tests.integration.backup_restore.stack import wait_until

from holdfast.crashpoint import CrashPoint

SHIPPING = [CrashPoint.PUSH_READ, CrashPoint.PUSH_STORED, CrashPoint.PUSH_ACKNOWLEDGED]
OTHERS = {CrashPoint.PUSH_GAP_NOTED, CrashPoint.SERVE_LOCKED}


def test_every_crash_point_of_push_and_serve_has_its_test():
    ours = {point for point in CrashPoint if point.value.startswith(("push.", "serve."))}
    assert {*SHIPPING, *OTHERS} == ours


@pytest.mark.parametrize("point", [*SHIPPING, f"{CrashPoint.PUSH_STORED}:3"])
def test_push(kept, point):
    kept.archive_by("false")
    names = kept.write(4)
    answer = kept.push(f"pg_wal/{names[0]}", HOLDFAST_CRASH_POINT=point)
    assert answer.returncode == -signal.SIGKILL
    archived = kept.archived()
    for name in names:
        assert not kept.is_acknowledged(name) or name in archived
    kept.archive_by(f"{kept.spool}/archive %p %f")
    kept.wait_archived(names)
    kept.stack.check()


@pytest.mark.parametrize("point", [*SHIPPING, CrashPoint.SERVE_LOCKED])
def test_serve(kept, point):
    kept.archive_by("false")
    names = kept.write(4)
    with kept.serving(HOLDFAST_CRASH_POINT=point) as process:
        assert process.wait(60) == -signal.SIGKILL
    archived = kept.archived()
    for name in names:
        assert not kept.is_acknowledged(name) or name in archived
    with kept.serving():
        wait_until(lambda: all(kept.is_acknowledged(name) for name in names))
        kept.archive_by(f"{kept.spool}/archive %p %f")
        kept.wait_archived(names)


def test_push_while_it_gives_a_segment_up(make_archiving):
    shop = make_archiving(wal={"queue_limit": "1MiB", "when_full": "drop"})
    shop.archive_by("false")
    away = shop.repository.with_name("elsewhere")
    os.rename(shop.repository, away)
    names = shop.write(3)
    answer = shop.push(f"pg_wal/{names[0]}", HOLDFAST_CRASH_POINT=CrashPoint.PUSH_GAP_NOTED)
    assert answer.returncode == -signal.SIGKILL
    assert (shop.spool / "gaps" / names[0]).exists(), "the note is durable before the server is told"
    os.rename(away, shop.repository)
    # the server was not told: it asks again, and is answered with the segment itself
    shop.archive_by(f"{shop.spool}/archive %p %f")
    shop.wait_archived(names)
    assert json.loads((shop.spool / "push.json").read_text())["gaps"] == []
    assert shop.archived() >= set(names)
    assert not any(name.endswith(".gap") for name in shop.archived())


@pytest.mark.slow
def test_serve_killed_at_random_under_load(make_archiving):
    """Again and again, while the server writes; in the end everything is there and nothing else was believed."""
    import random

    shop = make_archiving()
    dice = random.Random(4)
    names = []
    for _ in range(12):
        with shop.serving() as process:
            names += shop.write(3)
            wait_until(lambda: shop.resident() != "")
            signal.sigtimedwait([], dice.random() * 0.4)
            process.kill()
            process.wait()
            shop.require_truthful()
    shop.wait_archived(names)
