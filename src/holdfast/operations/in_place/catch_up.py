"""Getting the last WAL of the server in service into the archive, before a recovery target is looked for in it.

What was committed a minute ago may still lie in a segment that is not full. The server is asked to finish that segment,
and a while is given to whatever archives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.config.choose import choose_service
from holdfast.errors import ServerError
from holdfast.operations.wiring import connection_string
from holdfast.postgres.connection import connect, translated
from holdfast.postgres.facts import one_row
from holdfast.postgres.ping import is_taking_connections

if TYPE_CHECKING:
    from holdfast.config.models import Stack
    from holdfast.postgres.connection import Connection
    from holdfast.progress import Reporter

_WAIT_S = 30.0
_POLL_S = 0.1
_ARCHIVES = "SELECT current_setting('archive_mode') <> 'off' AND NOT pg_is_in_recovery()"
_SWITCH = "SELECT pg_walfile_name(pg_switch_wal())"
# A standby's or an earlier timeline's file may be the last one: only this timeline's names compare.
_IS_ARCHIVED = """
SELECT coalesce(left(last_archived_wal, 24) >= %(segment)s AND left(last_archived_wal, 8) = left(%(segment)s, 8),
                false),
       coalesce(last_failed_time > last_archived_time, false) FROM pg_stat_archiver
"""


def let_archive_catch_up(stack: Stack, service: str, reporter: Reporter) -> None:
    """Let the server in service finish its WAL segment and wait until it is archived; where that fails, only say so."""
    conninfo = connection_string(choose_service(stack, service))
    if not is_taking_connections(conninfo):
        return
    try:
        with connect(conninfo) as connection, translated("finishing the WAL segment"):
            if one_row(connection, _ARCHIVES)[0]:
                _wait_for(connection, one_row(connection, _SWITCH)[0], reporter)
    except ServerError as error:
        reporter.notice(f"the latest WAL may not be in the archive yet: {error.message}")


def _wait_for(connection: Connection, segment: str, reporter: Reporter) -> None:
    deadline = clock.monotonic() + _WAIT_S
    while True:
        is_archived, has_failed = one_row(connection, _IS_ARCHIVED, {"segment": segment})
        if is_archived:
            return
        if has_failed or clock.monotonic() > deadline:
            reporter.notice(f"WAL segment {segment} is not in the archive yet; 'holdfast wal status' tells why")
            return
        clock.sleep(_POLL_S)
