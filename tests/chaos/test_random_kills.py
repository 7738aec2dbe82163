"""SIGKILL at random instants; the seed is printed, and HOLDFAST_SEED repeats it."""

import os
import random
import secrets

import pytest
from tests.integration.backup_restore.clusters import ask, require_free, start_restored
from tests.integration.backup_restore.stack import kill

from holdfast import clock

SEED = int(os.environ.get("HOLDFAST_SEED", secrets.randbits(32)))
SHORT, LONG = 3, 25
"""Rounds: each kills one backup and one restore."""


def instants(count):
    """Return the parts of a whole run's duration after which to kill."""
    print(f"HOLDFAST_SEED={SEED}")
    source = random.Random(SEED)
    return [source.random() for _ in range(count)]


def kill_backups(stack, cluster, parts):
    stack.succeed("init")
    began = clock.monotonic()
    stack.backup()
    duration = clock.monotonic() - began
    for part in parts:
        before = len(stack.snapshots())
        child = stack.start("backup", "db", "--rehash")
        clock.sleep(part * duration)
        kill(child)
        require_free(cluster)
        stack.check()
        assert before <= len(stack.snapshots()) <= before + 1
    last = stack.backup()
    assert last["stats"]["new_plain_bytes"] < 25 << 20
    assert not list((stack.place / "sessions").iterdir())
    stack.check()


def kill_restores(stored, directory, make_cluster, cluster, parts):
    began = clock.monotonic()
    stored.succeed("restore", "db", "--target", directory / "whole")
    duration = clock.monotonic() - began
    for number, part in enumerate(parts):
        target = directory / f"restored-{number}"
        child = stored.start("restore", "db", "--target", target)
        clock.sleep(part * duration)
        kill(child)
        resumable = (target / "holdfast-restore.json").exists()
        run = stored.run("restore", "db", "--target", target, *(["--resume"] if resumable else []))
        assert run.code == 0 or "whole already" in run.error["message"], str(run)
        restored = start_restored(make_cluster, cluster, target)
        assert ask(restored, "SELECT count(*) FROM item") == 20000
        restored.stop()


def test_backups_killed_at_a_few_random_instants(stack, small_cluster):
    kill_backups(stack, small_cluster, instants(SHORT))


def test_restores_killed_at_a_few_random_instants(stored, shared_directory, make_cluster, small_cluster):
    kill_restores(stored, shared_directory, make_cluster, small_cluster, instants(SHORT))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_backups_killed_at_many_random_instants(stack, small_cluster):
    kill_backups(stack, small_cluster, instants(LONG))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_restores_killed_at_many_random_instants(stored, shared_directory, make_cluster, small_cluster):
    kill_restores(stored, shared_directory, make_cluster, small_cluster, instants(LONG))
