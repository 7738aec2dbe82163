"""An interruption is raised once, where it breaks nothing; before that it waits, and it is never lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from importlib import import_module

import pytest

from holdfast import clock
from holdfast.cli.interruption import Interruption

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def run_interrupted(do) -> None:
    """Do what is interrupted; the KeyboardInterrupt must come, at the latest while this waits for it."""
    with Interruption() as interruption, interruption.raised():
        do()
        clock.sleep(10)
        raise AssertionError("the interruption is lost")


@pytest.mark.parametrize("number", SIGNALS)
def test_one_that_came_before_is_raised_when_the_work_begins(number):
    with Interruption() as interruption:
        signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt), interruption.raised():
            raise AssertionError("the work began")


def test_one_that_comes_after_the_work_changes_nothing():
    with Interruption() as interruption:
        with interruption.raised():
            pass
        signal.raise_signal(signal.SIGTERM)
        assert interruption.has_come


def test_one_that_comes_during_an_import_waits_for_its_end(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "interrupted_module.py"
    module.write_text("import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(0.05)\nwhole = True\n")
    with pytest.raises(KeyboardInterrupt):
        run_interrupted(lambda: import_module("interrupted_module"))
    assert sys.modules.pop("interrupted_module").whole


def test_one_that_comes_where_nothing_can_be_raised_comes_again(capfd):
    class Dying:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    alarm_before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(KeyboardInterrupt):
        run_interrupted(Dying)
    assert capfd.readouterr().err == ""
    assert signal.getsignal(signal.SIGALRM) is alarm_before


def test_the_tidying_up_is_not_cut_short_by_another_one_at_the_same_time():
    tidied = []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGHUP)
        finally:
            signal.raise_signal(signal.SIGTERM)
            tidied.append("up")

    with pytest.raises(KeyboardInterrupt):
        run_interrupted(work)
    assert tidied == ["up"]


def test_one_more_later_ends_the_process_at_once():
    program = """if True:
        import signal, time
        from holdfast.cli.interruption import Interruption
        with Interruption() as interruption, interruption.raised():
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                time.sleep(1.1)
                signal.raise_signal(signal.SIGINT)
                print("tidied up", flush=True)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.startswith("error: interrupted twice")


def test_the_handlers_are_given_back():
    before = [signal.getsignal(each) for each in SIGNALS], sys.unraisablehook
    with Interruption():
        assert signal.getsignal(signal.SIGHUP) not in before[0]
    assert before == ([signal.getsignal(each) for each in SIGNALS], sys.unraisablehook)
