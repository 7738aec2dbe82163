"""The ``restore_command``: a piece of shell that takes ready WAL by ``mv``, and asks the supplying process else.

PostgreSQL's shell sources the script. A file that lies ``ready`` is taken at the price of one fork; else the script
asks through one FIFO and waits for a line in the other. That wait cannot outlive the answering process: the script
opens the FIFO both ways (which never blocks), then for reading alone, and lets the writing end go, so the kernel ends
the wait as soon as the last writer, the answering process, is gone in whatever way.

What it ends with (``RestoreArchivedFile`` in ``src/backend/access/transam/xlogarchive.c``): 0, the file is in its
place; 1, it is not in the archive, and recovery ends or goes on with another timeline; above 125, recovery must stop.
A shell that cannot go on ends with 2, which PostgreSQL takes for "not there": so a trap is set before the script is
read, and only its deliberate ends lift it.

A standby that somebody runs is told 1 in the place of every stop: it takes nothing for the end of the WAL, asks its
primary, and again later. Told to stop it would shut down, with all who read from it, because a repository was away for
a moment. A restore of ours recovers in standby mode, too, and is stopped: it says why.
"""

from __future__ import annotations

import os
import shlex
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

STOP_EXIT = 200
"""Ends recovery. Not 126 or 127, which PostgreSQL's log puts into words of its own, nor what shells say of signals."""
NOT_THERE_EXIT = 79
"""What our own command ends with for "not there" when it is asked to: a Python that cannot even start ends with 1."""

STANDBY_SIGNAL = "standby.signal"
"""Lies in the data directory of a standby, in which the command runs."""

SPOOL_NAME = "holdfast-supply"
"""What the directory is called in ``pg_wal``, the best place for it."""
SCRIPT_NAME = "fetch"
ASK, ANSWER, TURN, READY = "ask", "answer", "turn", "ready"
"""Beside the script: the FIFO of questions, that of answers, the lock of those who ask, the directory of files."""
PART_SUFFIX = ".part"

_NOBODY = 78
_STOP = f'trap "exit {STOP_EXIT}" 0'
_BEGIN = f'{_STOP}; set -- "%f" "%p"; '
_FOLLOWS, _RESTORES = "follows=yes", "follows="
"""Whether a standby that asks is one that somebody runs."""

# $1 is %f, $2 is %p. "own" is the server's copy of a segment in pg_wal, of which it may have more than the archive: a
# restored file would take its place. Falls through when nobody answers, so that the sourcing line can go on.
_SCRIPT = """\
spool=@SPOOL@
own="${2%/*}/$1"
if [ -f "$spool/ready/$1" ] && mv -f -- "$spool/ready/$1" "$2" 2>/dev/null; then
    [ -p "$spool/ask" ] && echo "took $$ $1" 1<>"$spool/ask"
    trap - 0; exit 0
fi
verdict=
if [ -p "$spool/answer" ] && command exec 9>>"$spool/turn" && flock 9 \\
    && command exec 3<>"$spool/answer" 4<"$spool/answer" 3>&- && [ -p "$spool/ask" ]; then
    echo "ask $$ $1" 1<>"$spool/ask"
    while read -r asker verdict words <&4 && [ "$asker" != "$$" ]; do verdict=; done
fi
case $verdict in
ready)
    mv -f -- "$spool/ready/$1" "$2" && trap - 0 && exit 0
    exit @STOP@ ;;
part)
    if [ -f "$own" ] && cmp -s -n "$words" -- "$own" "$spool/ready/$1.part"; then trap - 0; exit 1; fi
    mv -f -- "$spool/ready/$1.part" "$2" && trap - 0 && exit 0
    exit @STOP@ ;;
absent)
    trap - 0; exit 1 ;;
gap)
    if [ -f "$own" ] || [ -f @STANDBY@ ]; then trap - 0; exit 1; fi
    echo "holdfast: $words" >&2
    exit @STOP@ ;;
stop)
    echo "holdfast: $words" >&2
    if [ -n "$follows" ] && [ -f @STANDBY@ ]; then trap - 0; exit 1; fi
    exit @STOP@ ;;
esac
command exec 4<&- 9>&-
"""


class Verdict(StrEnum):
    """What the script is told about the file it asked for."""

    READY = "ready"
    PART = "part"
    ABSENT = "absent"
    GAP = "gap"
    STOP = "stop"


def script(spool: Path) -> str:
    """Return the script that takes from ``spool``."""
    values = {"@STOP@": str(STOP_EXIT), "@STANDBY@": STANDBY_SIGNAL, "@SPOOL@": shlex.quote(str(spool))}
    text = _SCRIPT
    for mark, value in values.items():
        text = text.replace(mark, value)
    return text


def supplied_command(spool: Path) -> str:
    """Return the ``restore_command`` of a server whose WAL is handed over in ``spool`` and nowhere else."""
    return f"{_BEGIN}{_RESTORES}; . {_escaped(shlex.quote(str(spool / SCRIPT_NAME)))}"


def shared_command(spool: Path, program: Sequence[str]) -> str:
    """Return a ``restore_command`` that takes from ``spool``, and runs ``program`` while nobody hands over there.

    The program is given ``%f`` and ``%p``; it ends with 0, with NOT_THERE_EXIT, or with anything else to stop recovery
    (of a standby: to let it go on without the file).
    """
    source = _escaped(shlex.quote(str(spool / SCRIPT_NAME)))
    run = _escaped(shlex.join(program))
    return (
        f'{_BEGIN}{_FOLLOWS}; test -f {source} && command . {source}; {run} "%f" "%p"; '
        f"case $? in 0) trap - 0; exit 0;; {NOT_THERE_EXIT}) trap - 0; exit 1;; esac; "
        f"if test -f {STANDBY_SIGNAL}; then trap - 0; exit 1; fi"
    )


def taking_arguments(spool: str, name: str, path: str, not_there_exit: int) -> list[str]:
    """Return the command line of a shell that takes one file from ``spool``; it ends as a ``restore_command`` does."""
    line = f'{_STOP}; ({_STOP}; {_FOLLOWS}; . "$0"); case $? in {_ends(not_there_exit)} esac'
    return ["/bin/sh", "-c", line, os.path.join(spool, SCRIPT_NAME), name, path]


def asking_arguments(spool: str, name: str, path: str, not_there_exit: int, otherwise: Sequence[str]) -> list[str]:
    """Return the same for a shell that becomes ``otherwise`` when nobody hands over in ``spool``."""
    take = f'({_STOP}; {_FOLLOWS}; test -f "$0" && command . "$0"; trap - 0; exit {_NOBODY})'
    line = f'{_STOP}; {take}; case $? in {_ends(not_there_exit)} {_NOBODY}) shift 2; exec "$@";; esac'
    return ["/bin/sh", "-c", line, os.path.join(spool, SCRIPT_NAME), name, path, *otherwise]


def _ends(not_there_exit: int) -> str:
    return f"0) trap - 0; exit 0;; 1) trap - 0; exit {not_there_exit};;"


def _escaped(text: str) -> str:
    """Return shell text with PostgreSQL's own escape character doubled."""
    return text.replace("%", "%%")
