"""What surrounds ``holdfast wal fetch`` when PostgreSQL runs it: its exit codes, and a way that skips most of Python.

PostgreSQL takes every exit code from 1 to 125 for "this file is not in the archive", and ends recovery there. So here
no complaint about a command line, no fault and no refusal may end with what it ends with elsewhere; for a standby,
which ends nothing and asks again, all of them do (``wal.restore_command``). And while another call left a process that
answers, a shell asks it: nothing of ours is imported.
"""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn

from holdfast.wal.restore_command import NOT_THERE_EXIT, SPOOL_NAME, STANDBY_SIGNAL, STOP_EXIT, asking_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

_ALREADY_ASKED = "HOLDFAST_NOBODY_SUPPLIES"
_NOT_THERE_OPTION = "--not-there-exit"


def is_wal_fetch(arguments: Sequence[str]) -> bool:
    """Whether this command line is a ``wal fetch``, also one that is wrong."""
    return ("wal", "fetch") in pairwise(word for word in arguments if not word.startswith("-"))


def run(arguments: Sequence[str]) -> NoReturn:
    """Run a ``wal fetch`` and end with a code that PostgreSQL understands."""
    if _ALREADY_ASKED not in os.environ:
        _ask_who_supplies(arguments)
    try:
        from holdfast.cli.main import main

        code = main(list(arguments))
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException as error:  # noqa: BLE001 - an end with 1 would say "not there", whatever happened
        sys.stderr.write(f"holdfast: {type(error).__name__}\n")
        code = STOP_EXIT
    os._exit(exit_code(code, arguments))


def exit_code(code: int, arguments: Sequence[str]) -> int:
    """Return what PostgreSQL must be told where the command line ended with ``code``."""
    if code == 0:
        return 0
    goes_on_without = code == NOT_THERE_EXIT or os.path.exists(STANDBY_SIGNAL)
    return _not_there_exit(arguments) if goes_on_without else STOP_EXIT


def _ask_who_supplies(arguments: Sequence[str]) -> None:
    """Become a shell that asks, and runs this same command again when nobody answers; return where nobody can."""
    *_, name, path = ["", "", *_operands(arguments)]
    spool = os.path.join(os.path.dirname(path), SPOOL_NAME)
    if os.path.exists(spool):
        again = [sys.executable, "-m", "holdfast", *arguments]
        os.environ[_ALREADY_ASKED] = "1"
        command = asking_arguments(spool, name, path, _not_there_exit(arguments), again)
        os.execv(command[0], command)  # noqa: S606 - it is one


def _operands(arguments: Sequence[str]) -> list[str]:
    """Return the words of a command line that are neither options nor their values, for the known forms of it."""
    words: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if word.startswith("-"):
            if "=" not in word:
                next(rest, None)
        else:
            words.append(word)
    return words


def _not_there_exit(arguments: Sequence[str]) -> int:
    values = [value for option, value in pairwise(arguments) if option == _NOT_THERE_OPTION]
    return int(values[-1]) if values and values[-1].isdecimal() else 1
