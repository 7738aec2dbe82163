"""One place maps errors to exit codes, and says what went wrong the same way each time."""

from __future__ import annotations

import signal
import subprocess

import pytest
from tests.unit.cli.sample_commands import CANARY

from holdfast import __version__, errors
from holdfast.cli.main import main

pytestmark = pytest.mark.usefixtures("samples")

# The codes as they are promised to users, written out once more: a change of errors.py must be noticed here.
CODES = {
    "HoldfastError": 1,
    "UsageError": 2,
    "ConfigError": 2,
    "NoRepositoryError": 10,
    "BusyError": 11,
    "KeyRefusedError": 12,
    "TargetNotReachableError": 13,
    "VerificationError": 14,
    "StorageError": 1,
    "NotFoundError": 1,
    "AlreadyExistsError": 1,
    "PermissionRefusedError": 1,
    "NoSpaceError": 1,
    "TransientStorageError": 1,
    "ServerError": 1,
    "ServerUnreachableError": 1,
    "OutputError": 1,
    "InterruptedRunError": 130,
}


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_each_error_has_its_exit_code(name: str, code: int, capsys):
    assert main(["try", "fail", name]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "error: it went wrong\n  first\n  second\nHINT: do this next\n"


def test_no_error_is_left_out_of_the_codes():
    tree, queue = {"HoldfastError"}, [errors.HoldfastError]
    while queue:
        below = [kind for kind in queue.pop().__subclasses__() if kind.__module__ == errors.__name__]
        tree |= {kind.__name__ for kind in below}
        queue += below
    assert tree - {"DamageError"} == set(CODES)  # DamageError takes other arguments; it is a VerificationError
    assert errors.DamageError("packs/x", "gone").exit_code == 14


def test_success_is_zero(capsys):
    assert main(["try", "say"]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("done\n", "this is talk\n")


def test_an_error_is_one_json_object(messages):
    assert main(["--json", "try", "fail", "BusyError"]) == 11
    assert messages() == [
        {
            "message_type": "error",
            "exit_code": 11,
            "error": "BusyError",
            "message": "it went wrong",
            "details": ["first", "second"],
            "hint": "do this next",
        }
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "no such command 'nonsense'"),
        (["--nonsense"], "no such option: --nonsense"),
        (["try"], None),
        (["try", "fail"], "missing argument 'name'"),
        (["try", "say", "one", "two"], "unexpected extra argument"),
        (["-c"], "option '-c' requires an argument"),
    ],
)
def test_a_wrong_command_line_is_usage(arguments: list[str], words: str | None, capsys):
    assert main(arguments) == 2
    shown = capsys.readouterr()
    if words is None:
        assert shown.out.startswith("Usage: holdfast try")
    else:
        assert words in shown.err.lower()
        assert shown.err.startswith("error: ")
        assert "\nHINT: try 'holdfast" in shown.err


def test_a_wrong_command_line_is_json_too_when_asked(messages):
    for arguments in (["nonsense", "--json"], ["--json"], ["--json", "wal"], ["key", "--json"]):
        assert main(arguments) == 2
        assert [message["error"] for message in messages()] == ["UsageError"], arguments


def test_a_typing_error_in_a_command_gets_the_near_one(capsys):
    assert main(["confg"]) == 2
    assert "'config'" in capsys.readouterr().err


@pytest.mark.parametrize("given", [["-v"], ["-v", "-v"], ["-vv"]])
def test_an_internal_fault_shows_a_traceback_only_when_asked(given: list[str], capsys):
    assert main(["try", "break_down"]) == 1
    brief = capsys.readouterr().err
    assert brief.startswith("error: internal error: ZeroDivisionError\nHINT: ")
    assert "Traceback" not in brief
    assert main(["try", *given, "break_down"]) == 1
    full = capsys.readouterr().err
    assert "Traceback (most recent call last)" in full
    assert "in break_down" in full
    assert CANARY not in brief + full


BEFORE_AND_AFTER = ["-c", "some.yaml", "-r", "main", "-q", "-v", "--json"]


@pytest.mark.parametrize("cut", range(len(BEFORE_AND_AFTER) + 1))
def test_the_options_of_every_command_stand_before_or_after(cut: int, messages):
    before, after = BEFORE_AND_AFTER[:cut], BEFORE_AND_AFTER[cut:]
    if before and before[-1] in {"-c", "-r"}:
        before, after = BEFORE_AND_AFTER[: cut + 1], BEFORE_AND_AFTER[cut + 1 :]
    assert main([*before, "try", "say", *after, "hello"]) == 0
    expected = {"word": "hello", "config": "some.yaml", "repository": "main", "quiet": True, "verbose": 1}
    assert messages() == [{"message_type": "said", **expected}]


def test_verbosity_adds_up_and_the_later_name_wins(messages):
    assert main(["--json", "-v", "-r", "one", "try", "-v", "say", "-vv", "-r", "two"]) == 0
    [message] = messages()
    assert (message["verbose"], message["repository"]) == (4, "two")


def test_quiet_drops_talk_and_keeps_results_and_errors(capsys):
    assert main(["-q", "try", "say"]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("done\n", "")
    main(["-q", "try", "fail", "BusyError"])
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_run_as_interrupted(name: str, sample_process):
    done = subprocess.run(
        [*sample_process, "try", "interrupt", name], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 130
    assert done.stderr == "error: interrupted\nHINT: run the same command again; what was stored is reused\n"


def test_what_an_interruption_is_turned_into_is_an_interruption(sample_process):
    done = subprocess.run(
        [*sample_process, "try", "misunderstand"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 130
    assert done.stderr.startswith("error: interrupted\n")


def test_an_ignored_hangup_stays_ignored(sample_process):
    code = sample_process[-1].replace(
        "with Interruption", "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\nwith Interruption"
    )
    process = subprocess.Popen(
        [*sample_process[:-1], code, "try", "interrupt", "SIGHUP"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "not ended by it\n"
    process.send_signal(signal.SIGTERM)
    assert "interrupted" in process.communicate(timeout=120)[1]


def test_the_handlers_of_signals_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    main(["try", "say"])
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_closed_pipe_is_quiet(sample_process):
    process = subprocess.Popen([*sample_process, "try", "flood"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(120) == 1
    process.stderr.close()


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"holdfast {__version__}\n"
