"""A thread's end is waited for, whatever breaks in; one that was never started is not waited for."""

from __future__ import annotations

import signal
import threading

import pytest

from holdfast import clock
from holdfast.thread import Thread


def test_a_wait_that_a_signal_broke_off_does_not_take_the_thread_for_ended() -> None:
    goes_on = threading.Event()
    done: list[str] = []

    def do() -> None:
        clock.sleep(0.1)  # until the caller waits
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        goes_on.wait()
        done.append("all")

    thread = Thread(do, "test")
    with pytest.raises(KeyboardInterrupt):  # around both: on a busy machine the signal may come before the wait
        _start_and_wait(thread)
    assert not thread.wait(0.05)
    goes_on.set()
    assert thread.wait()
    assert done == ["all"]


def _start_and_wait(thread: Thread) -> None:
    thread.start()
    thread.wait()


def test_a_thread_that_was_never_started_is_not_waited_for() -> None:
    assert Thread(lambda: None, "test").wait()


def test_a_thread_that_the_system_refuses_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    thread = Thread(lambda: None, "test")
    with pytest.raises(RuntimeError, match="can't start"):
        thread.start()
    assert thread.wait()
