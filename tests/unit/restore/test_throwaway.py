"""Directories to throw away are removed, by us or by the next one, and never while somebody uses them."""

import os

import pytest

from holdfast.errors import UsageError
from holdfast.restore.throwaway import new_throw_away_path, throw_away_directory


@pytest.fixture
def parent(shared_directory, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(shared_directory))
    return shared_directory


def test_it_is_removed_whatever_happens(parent):
    def work():
        with throw_away_directory(new_throw_away_path()):
            (made,) = parent.iterdir()
            (made / "data").mkdir()
            (made / "data" / "file").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert list(parent.iterdir()) == []


def test_what_a_killed_run_left_is_removed_and_what_is_in_use_is_not(parent):
    left = parent / "holdfast-part-left"
    left.mkdir()
    (left / "data").mkdir()
    young = parent / "holdfast-part-young"
    young.mkdir()
    stranger = parent / "another-directory"
    stranger.mkdir()
    link = parent / "holdfast-part-link"
    link.symlink_to(stranger)
    for path in (left, stranger):
        os.utime(path, (0, 0))
    used = new_throw_away_path()
    with throw_away_directory(used):
        os.utime(used, (0, 0))
        with throw_away_directory(new_throw_away_path()):
            assert used.exists()
    assert set(parent.iterdir()) == {young, stranger, link}


def test_a_parent_that_is_none_is_told(parent, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(parent / "missing"))
    with pytest.raises(UsageError, match="cannot make"), throw_away_directory(new_throw_away_path()):
        raise AssertionError("it was made")
