"""A connection in physical replication mode: what the server is, its slots, its timelines, and the WAL as it flows.

psycopg's own connections cannot stream WAL, so this speaks through ``psycopg.pq``, its face of libpq. Only the
REPLICATION privilege is needed, and no database is connected to (manual, section 55.4).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import psycopg
from psycopg import pq

from holdfast.errors import ServerError, ServerUnreachableError, UsageError
from holdfast.postgres.base_backup import BaseBackup, base_backup_command, open_channel, require_base_backup
from holdfast.postgres.connection import complete_conninfo, parse_conninfo
from holdfast.postgres.location import require_supported
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.replication_refusals import SlotMissingError, command_refusal, connection_refusal
from holdfast.postgres.replication_stream import WalStream
from holdfast.postgres.segment import require_segment_size
from holdfast.postgres.timeline import Timeline

if TYPE_CHECKING:
    from types import TracebackType

    from psycopg.pq.abc import PGconn, PGresult

    from holdfast.postgres.base_backup_channel import Channel

_SLOT_NAME = re.compile(r"[a-z0-9_]{1,63}")  # ReplicationSlotValidateName in src/backend/replication/slot.c
_SIZE = re.compile(r"([0-9]+)(kB|MB|GB|TB)?")
_UNITS = {None: 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_READ_SLOT_SINCE = 150000
_PATIENT = "-c idle_session_timeout=0 -c wal_sender_timeout=60s"
"""A connection that holds WAL rests while a checkpoint is waited for; and whoever reads WAL may be held up by a slow
repository for longer than the seconds after which operators let a server give its standbys up."""


@dataclass(frozen=True, slots=True)
class SystemIdentity:
    """What IDENTIFY_SYSTEM says: whose WAL it is, on which timeline, and how far it is flushed."""

    system_identifier: str
    timeline: Timeline
    flushed: Lsn


@dataclass(frozen=True, slots=True)
class SlotPosition:
    """The WAL that a slot holds: all from ``restart`` on, which lies on ``timeline``."""

    restart: Lsn
    timeline: Timeline


class ReplicationConnection:
    """One replication connection. Not for several threads at once."""

    def __init__(self, connection: PGconn) -> None:
        """Use an open connection; ``ReplicationConnection.connect`` makes one."""
        self._connection = connection
        self._channel: Channel | None = None

    @classmethod
    def connect(cls, conninfo: str, application_name: str) -> Self:
        """Connect. ServerUnreachableError, ServerError when the server refuses, NoSenderError; each with what to do.

        ``application_name`` is what ``synchronous_standby_names`` may list.
        """
        given = parse_conninfo(conninfo)
        options = f"{_PATIENT} {given.get('options') or os.environ.get('PGOPTIONS', '')}"
        complete = complete_conninfo(given, application_name=application_name, replication="true", options=options)
        connection = pq.PGconn.connect(complete.encode())
        if connection.status != pq.ConnStatus.OK:
            words = connection.get_error_message()
            user = connection.user.decode(errors="replace") if connection.user else None
            connection.finish()
            raise connection_refusal(words, {**given, "user": given.get("user") or user})
        require_supported(connection.server_version // 10000)
        return cls(connection)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """End the connection. A slot stays where it is."""
        if self._channel is not None:
            self._channel.close()
        self._connection.finish()

    @property
    def major(self) -> int:
        """The server's major version."""
        return self._connection.server_version // 10000

    def is_standby(self) -> bool:
        """Whether the server is a standby, or recovers."""
        return self.setting("in_hot_standby") == "on"

    def may_be_synchronous(self, application_name: str) -> bool:
        """Whether the server would take a standby of this name for a synchronous one, were it to report positions."""
        names = self.setting("synchronous_standby_names").lower()
        return "*" in names or application_name.lower() in names

    def identify(self) -> SystemIdentity:
        """Return whose WAL this is and how far it is flushed."""
        row = self._one_row("identifying the system", "IDENTIFY_SYSTEM")
        return SystemIdentity(row[0], Timeline.parse_decimal(row[1]), Lsn.parse(row[2]))

    def setting(self, name: str) -> str:
        """Return a setting of the server that every role may see."""
        return self._one_row(f"asking for {name}", f"SHOW {name}")[0]

    def size_setting(self, name: str) -> int:
        """Return a setting that is a size, in bytes; one without a unit is taken to be bytes."""
        shown = self.setting(name)
        match = _SIZE.fullmatch(shown)
        if match is None:
            raise ServerError(
                f"the server names a {name} that cannot be read: {shown!r}",
                hint="see whether a pooler or proxy answers in the server's place: connect to the server itself",
            )
        return int(match[1]) * _UNITS[match[2]]

    def segment_size(self) -> int:
        """Return the size of a WAL segment in bytes."""
        return require_segment_size(self.size_setting("wal_segment_size"))

    @property
    def tells_slot_position(self) -> bool:
        """Whether the server says what a slot holds: 15 and later do."""
        return self._connection.server_version >= _READ_SLOT_SINCE

    def slot_position(self, slot: str) -> SlotPosition | None:
        """Return what a physical slot holds; None when it holds nothing, or the server (14) cannot tell.

        SlotMissingError when there is no such slot, ServerError when it is a logical one.
        """
        if not self.tells_slot_position:
            return None
        name = require_slot_name(slot)
        kind, restart, timeline = self._one_row("reading the slot", f"READ_REPLICATION_SLOT {name}")
        if not kind:
            raise SlotMissingError(
                f"the server has no replication slot {slot}", hint="make it: holdfast wal receive SERVICE --create-slot"
            )
        return SlotPosition(Lsn.parse(restart), Timeline.parse_decimal(timeline)) if restart else None

    def create_slot(self, slot: str) -> None:
        """Make a physical slot that holds WAL from now on; SlotExistsError, ServerError when there is no room."""
        self._run(f"making the slot {slot}", f"CREATE_REPLICATION_SLOT {require_slot_name(slot)} PHYSICAL RESERVE_WAL")

    def hold_wal(self, slot: str) -> None:
        """Make a slot that holds WAL from the last checkpoint on, and is gone when this connection ends.

        A command that fails drops it, too. Errors as in ``create_slot``.
        """
        name = require_slot_name(slot)
        self._run("holding the WAL", f"CREATE_REPLICATION_SLOT {name} TEMPORARY PHYSICAL RESERVE_WAL")

    def base_backup(self, label: str) -> BaseBackup:
        """Begin a base backup, whose this connection is from then on. ServerError from 14, which sends it otherwise."""
        require_base_backup(self.major)
        self._channel = open_channel(self._connection)
        return BaseBackup(self._channel, base_backup_command(label, self.major))

    def drop_slot(self, slot: str) -> None:
        """Drop a slot: the server may recycle what it held. SlotMissingError, SlotBusyError."""
        self._run(f"dropping the slot {slot}", f"DROP_REPLICATION_SLOT {require_slot_name(slot)}")

    def timeline_history(self, timeline: Timeline) -> tuple[str, bytes]:
        """Return file name and content of a timeline's history; timeline 1 has none."""
        result = self._run(f"fetching the history of timeline {timeline}", f"TIMELINE_HISTORY {timeline:d}")
        name, content = result.get_value(0, 0), result.get_value(0, 1)
        if name is None or content is None:
            raise ServerError(
                f"the server gave no history of timeline {timeline}",
                hint="see whether a pooler or proxy answers in the server's place: connect to the server itself",
            )
        return name.decode(errors="replace"), content

    def stream(self, slot: str, start: Lsn, timeline: Timeline) -> WalStream:
        """Begin to receive WAL from ``start`` on a timeline, through a slot.

        SlotMissingError, SlotBusyError, SlotInvalidError; ServerError when ``start`` is not in the server's history.
        That the WAL is gone shows while it is read. The connection is the stream's until it has ended.
        """
        command = f"START_REPLICATION SLOT {require_slot_name(slot)} PHYSICAL {start} TIMELINE {timeline:d}"
        self._run("starting to stream", command)
        return WalStream(self._connection)

    def _one_row(self, doing: str, command: str) -> list[str]:
        result = self._run(doing, command)
        if result.ntuples != 1:
            raise ServerError(f"{doing}: the server gave no answer where it must", hint="look at its log")
        return [(result.get_value(0, column) or b"").decode(errors="replace") for column in range(result.nfields)]

    def _run(self, doing: str, command: str) -> PGresult:
        try:
            result = self._connection.exec_(command.encode())
        except psycopg.Error as error:
            raise ServerUnreachableError(f"{doing}: {error}", hint="the connection was lost; try again") from error
        expected = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK, pq.ExecStatus.COPY_BOTH)
        if result.status not in expected:
            raise command_refusal(doing, result)
        return result


def require_slot_name(slot: str) -> str:
    """Return a slot's name as replication commands take it, or raise UsageError."""
    if not _SLOT_NAME.fullmatch(slot):
        raise UsageError(
            f"not the name of a replication slot: {slot!r}", hint="lower-case letters, digits and _, 63 at most"
        )
    return f'"{slot}"'
