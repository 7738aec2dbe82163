"""What a server in recovery writes into its log, as far as it decides what happens next (with ``lc_messages`` C).

The texts are those of ``src/backend/access/transam/xlogrecovery.c`` (``xlog.c`` in 14), the same from 14 to 18.
"""

from __future__ import annotations

import re

_STOPPING = re.compile(r"LOG: {1,2}(recovery stopping .*)")
_TOO_LOW = re.compile(r"(\w+) = \d+ is a lower setting than on the primary server, where its value was (\d+)")
_ENDING = re.compile(r"(?:FATAL|PANIC): {1,2}(.*)")
_TELLING = re.compile(r"(?:LOG|WARNING|ERROR|FATAL|PANIC|DETAIL|HINT): {1,2}(.*)")
_SHOWN_LINES = 8
_NOISE = (
    "starting PostgreSQL",
    "listening on",
    "the database system is",
    "database system was",
    "entering standby mode",
    "restored log file",
    "restartpoint",
    "redo starts at",
    "could not find",
)


def stopping_line(log: str) -> str:
    """Return why the server halted at its target ("recovery stopping before commit of ..."), empty if it did not."""
    found = _STOPPING.findall(log)
    return found[-1] if found else ""


def settings_too_low(log: str) -> dict[str, str]:
    """Return the settings that were raised on the origin after the snapshot, with the values needed."""
    needed: dict[str, str] = {}
    for name, value in _TOO_LOW.findall(log):
        needed[name] = str(max(int(value), int(needed.get(name, "0"))))
    return needed


def ending_words(log: str) -> str:
    """Return the server's last words where it gave up, empty if there are none."""
    found = _ENDING.findall(log)
    return found[-1] if found else ""


def telling_lines(log: str) -> tuple[str, ...]:
    """Return the last lines of the log that may explain why recovery did not get further."""
    lines = [match[1] for line in log.splitlines() if (match := _TELLING.search(line))]
    return tuple(line for line in lines if not line.startswith(_NOISE))[-_SHOWN_LINES:]
