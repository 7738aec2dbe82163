"""Tasks that are made ahead: in order, no more than a few, and nobody is left behind when either side fails."""

import threading

import pytest

from holdfast.errors import ServerUnreachableError
from holdfast.services.postgres.replication_ahead import TasksAhead


class Source:
    """Makes numbers, and after them waits until it is told to give up."""

    def __init__(self, count, failure=None, *, goes_on=False):
        self.made, self._count, self._failure, self._goes_on = 0, count, failure, goes_on
        self.is_given_up = threading.Event()

    def __iter__(self):
        for number in range(self._count):
            self.made += 1
            yield number
        if self._goes_on:
            assert self.is_given_up.wait(30)
            raise ServerUnreachableError("given up")
        if self._failure:
            raise self._failure

    def give_up(self):
        self.is_given_up.set()


def assert_ended():
    for thread in threading.enumerate():
        if thread.name == "receive":
            thread.join(60)
            assert not thread.is_alive()


def ahead(source):
    return TasksAhead(iter(source), source.give_up)


def test_tasks_come_in_their_order():
    source = Source(500)
    with ahead(source) as tasks:
        assert list(tasks) == list(range(500))
        assert list(tasks) == []
    assert not source.is_given_up.is_set()
    assert_ended()


def test_few_are_made_ahead():
    source = Source(100)
    with ahead(source) as tasks:
        for taken in range(90):
            assert source.made <= taken + 4
            next(tasks)
        list(tasks)


def test_what_ends_the_making_is_raised_after_what_was_made():
    source = Source(5, ServerUnreachableError("lost"))
    with ahead(source) as tasks:
        assert [next(tasks) for _ in range(5)] == list(range(5))
        with pytest.raises(ServerUnreachableError, match="lost"):
            next(tasks)
    assert_ended()


@pytest.mark.parametrize("taken", [0, 1, 100])
def test_whoever_fails_leaves_nobody_behind(taken):
    source = Source(100, goes_on=True)

    def fail():
        with ahead(source) as tasks:
            for _ in range(taken):
                next(tasks)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert_ended()
