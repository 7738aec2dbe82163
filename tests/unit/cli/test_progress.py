"""Progress is paced, adds up over threads, and takes the shape that the run asks for."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import threading

import pytest
from rich.console import Console

from holdfast import clock
from holdfast.cli.main import main
from holdfast.cli.progress import PacedReporter
from holdfast.cli.standing import Standing, sentence
from holdfast.cli.terminal import TerminalDisplay


class Collected:
    def __init__(self):
        self.standings: list[Standing] = []
        self.words: list[str] = []

    def standing(self, standing):
        self.standings.append(standing)

    def notice(self, words):
        self.words.append(words)

    def warning(self, words):
        self.words.append(f"! {words}")


@pytest.fixture
def ticking(monkeypatch):
    """A monotonic clock that moves only when the test moves it."""
    present = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: present[0])
    return present


def test_the_pace_is_kept(ticking):
    shown = Collected()
    reporter = PacedReporter(shown, every_s=10)
    reporter.phase("copying", total_bytes=100)
    for _ in range(50):
        ticking[0] += 1
        reporter.advance(1)
    assert [each.done_bytes for each in shown.standings] == [0, 10, 20, 30, 40, 50]
    last = shown.standings[-1]
    assert (last.elapsed_s, last.bytes_per_s, last.remaining_s) == (50.0, 1.0, 50.0)


def test_a_new_phase_begins_at_zero_and_is_shown_at_once(ticking):
    shown = Collected()
    reporter = PacedReporter(shown, every_s=10)
    reporter.phase("copying", total_bytes=100)
    reporter.advance(40)
    reporter.phase("finishing")
    assert shown.standings[-1] == Standing("finishing", 0, None, 0.0, 0.0, None)


def test_many_threads_add_up(ticking):
    shown = Collected()
    reporter = PacedReporter(shown, every_s=1)
    reporter.phase("copying", total_bytes=8000)
    threads = [threading.Thread(target=lambda: [reporter.advance(1) for _ in range(1000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ticking[0] += 1
    reporter.advance(0)
    assert shown.standings[-1].done_bytes == 8000


def test_more_than_was_announced_is_not_more_than_all(ticking):
    assert "(100%)" in sentence(Standing("copying", 150, 100, 1.0, 150.0, 0.0))


def test_a_standing_in_words():
    standing = Standing("copying files", 1 << 30, 4 << 30, 2.0, float(1 << 29), 6.0)
    assert sentence(standing) == "copying files: 1.0 GiB of 4.0 GiB (25%), 512.0 MiB/s, 6.00 s left"
    assert sentence(Standing("waiting", 0, None, 0.0, 0.0, None)) == "waiting"
    assert sentence(Standing("reading", 2048, None, 1.0, 2048.0, None)) == "reading: 2.0 KiB, 2.0 KiB/s"


@pytest.mark.usefixtures("samples")
def test_json_messages_are_as_published(messages):
    assert main(["--json", "try", "work"]) == 0
    assert [message["message_type"] for message in messages()] == ["progress", "notice", "warning"]


@pytest.mark.usefixtures("samples")
def test_lines_where_there_is_no_terminal(capsys):
    assert main(["try", "work"]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == ["copying files: 4.0 MiB", "a remark", "warning: a warning"]


@pytest.mark.usefixtures("samples")
def test_quiet_leaves_the_warnings(capsys):
    assert main(["-q", "try", "work"]) == 0
    assert capsys.readouterr().err == "warning: a warning\n"


def test_a_terminal_gets_a_live_line(sample_process):
    """A real terminal device: what is printed there redraws one line, and remarks scroll by above it."""
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [*sample_process, "try", "work"],
            check=False,
            stderr=theirs,
            stdout=subprocess.PIPE,
            timeout=120,
            env={**os.environ, "TERM": "xterm"},
        )
    finally:
        os.close(theirs)
    printed = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 0
    assert done.stdout == b""
    assert "copying files" in printed
    assert "warning: a warning" in printed
    assert "\x1b[" in printed


def test_the_live_line_tells_size_rate_and_time_left():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    with TerminalDisplay(console) as display:
        display.standing(Standing("copying files", 1 << 20, 4 << 20, 1.0, float(1 << 20), 3.0))
    for words in ("copying files", "1.0 MiB of 4.0 MiB", "1.0 MiB/s", "3.00 s left"):
        assert words in screen.getvalue()
