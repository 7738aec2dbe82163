"""The ``archive_command``: a piece of shell that answers from the spool, for a millisecond a segment.

It ends with 0 only when the acknowledgement of the very file that it is asked about lies in the spool: same name, and
the same modification time to the nanosecond (neither newer nor older). Else, if the resident process is there, it wakes
it and waits a while; then it lets a process of its own push the file.

It cannot hang. The resident is known by its number *and* the time it began, as numbers are used again; opening the FIFO
for reading and writing never blocks (fifo(7)); the wait is bounded; and whoever waited in vain leaves a mark by which
the next ones do not wait at all, until the resident removes it.

PostgreSQL's shell sources the script, and where the acknowledgement is there nothing is forked: a second shell would
cost as much as all the rest. The script may be run, too. Who waits sleeps for long enough that several segments are
acknowledged when a backlog is worked off: each sleep is a process, and takes its time from the shipping.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from holdfast.wal.spool import ACK_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.wal.settings import WalSettings

SCRIPT_NAME = "archive"
PID_NAME = "serve.pid"
WAKE_NAME = "wake"
STUCK_NAME = "stuck"
SHIPPING = "shipping"
"""The third word of the resident's file while its last attempt succeeded; while it fails, nobody waits for it."""

# $1 is %p, $2 is %f. Field 22 of /proc/PID/stat is when the process began: proc(5); the second one, the program's name
# in parentheses, may hold spaces.
_SCRIPT = """\
#!/bin/sh
# Written by 'holdfast wal setup'. In postgresql.conf:
#   archive_command = @SETTING@
# Ends with 0 only when the file is durable in the repository.
set -f
spool=@SPOOL@
ack=@ACKS@/$2

acknowledged() {
    [ -f "$ack" ] && [ -f "$1" ] && ! [ "$1" -nt "$ack" ] && ! [ "$1" -ot "$ack" ]
}

resident() {
    [ ! -e "$spool/stuck" ] && [ -p "$spool/wake" ] || return 1
    { read -r number began state <"$spool/serve.pid"; } 2>/dev/null || return 1
    [ "$state" = shipping ] || return 1
    { read -r line <"/proc/$number/stat"; } 2>/dev/null || return 1
    set -- ${line##*) }
    [ "${20}" = "$began" ]
}

acknowledged "$1" && exit 0
if resident; then
    echo 1<>"$spool/wake"
    tries=0
    while [ $tries -lt 200 ] && resident; do
        sleep 0.05 || sleep 1
        acknowledged "$1" && exit 0
        tries=$((tries + 1))
    done
    [ $tries -lt 200 ] || : >"$spool/stuck"
fi
exec @PROGRAM@ wal push @SERVICE@ "$1" --settings "$spool/settings"
"""


def script(settings: WalSettings, program: Sequence[str]) -> str:
    """Return the script; ``program`` is how Holdfast is called, with its stack file."""
    values = {
        "@SETTING@": command_line(settings.spool),
        "@SPOOL@": shlex.quote(settings.spool),
        "@ACKS@": shlex.quote(f"{settings.spool}/{ACK_DIRECTORY}/{settings.repository_id}"),
        "@PROGRAM@": shlex.join(program),
        "@SERVICE@": shlex.quote(settings.service),
    }
    text = _SCRIPT
    for mark, value in values.items():
        text = text.replace(mark, value)
    return text


def command_line(spool: str) -> str:
    """Return the value of ``archive_command``: shell text in which PostgreSQL's own escape character is doubled."""
    return 'set -- "%p" "%f"; . ' + shlex.quote(f"{spool}/{SCRIPT_NAME}").replace("%", "%%")
