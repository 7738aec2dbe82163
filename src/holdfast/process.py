"""What the system says of a process: a number alone does not tell who had it before, nor who has ended.

Read from ``/proc/PID/stat``, whose fields are numbered in proc_pid_stat(5).
"""

from __future__ import annotations

_STATE, _BEGAN = 3, 22
_AFTER_NAME = 3
"""The first field after the program's name, which may itself have blanks and parentheses."""


def began(pid: int) -> str:
    """Return when a process began, in clock ticks since the boot; "" where there is no such process."""
    return _field(pid, _BEGAN)


def is_zombie(pid: int) -> bool:
    """Whether a process has ended, and nobody has asked how: a killed server may stay so, in a container for ever."""
    return _field(pid, _STATE) == "Z"


def _field(pid: int, number: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[number - _AFTER_NAME]
    except OSError:
        return ""
