"""What a server may say against replication, and what to do about each: most of it is one line of configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.pq import DiagnosticField

from holdfast.errors import BusyError, HoldfastError, ServerError, ServerUnreachableError
from holdfast.postgres.connection import refusal

if TYPE_CHECKING:
    import psycopg
    from psycopg.pq.abc import PGresult

    from holdfast.postgres.connection import Given

# ClientAuthentication in src/backend/libpq/auth.c; and what is to be done with the line that would allow it
_ENTRY_HINTS = (
    (
        re.compile(r'no pg_hba\.conf entry for replication connection from host "([^"]*)", user "([^"]*)"'),
        "add to pg_hba.conf and reload the server (SELECT pg_reload_conf()): ",
    ),
    (
        re.compile(r'pg_hba\.conf rejects replication connection for host "([^"]*)", user "([^"]*)"'),
        "put before the line of pg_hba.conf that rejects it, and reload the server (SELECT pg_reload_conf()): ",
    ),
)
_CLOSED_STANDBY = "Hot standby mode is disabled"  # ProcessStartupPacket in src/backend/postmaster/postmaster.c
_TOO_LONG = "too long for tar format"  # _tarWriteHeader in src/backend/backup/basebackup.c
_NO_PRIVILEGE = ("must be superuser or replication role", "permission denied to start WAL sender")
_NO_SENDER = "max_wal_senders"
_SENDERS_HINT = "raise max_wal_senders and restart the server, or end a standby, receiver or backup that is not needed"
_NO_SENDERS_HINT = "set wal_level = replica and max_wal_senders = 10, then restart the server"


class WalRemovedError(ServerError):
    """The server no longer has the WAL that was asked for."""


class SlotMissingError(ServerError):
    """There is no replication slot of this name."""


class SlotExistsError(ServerError):
    """There is a slot of this name already."""


class SlotInvalidError(ServerError):
    """The slot exists and holds no WAL: it fell too far behind, or never held any."""


class SlotBusyError(BusyError):
    """Somebody else streams from the slot."""


class NoSenderError(BusyError):
    """All WAL senders of the server are in use."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a server said against something; without a ``state`` (SQLSTATE) no server spoke: the connection broke."""

    words: str
    state: str = ""
    detail: str = ""
    hint: str = ""


_TOO_LONG_HINT = (
    "the server sends no names and links of 100 bytes and more: give it a shorter one, "
    "or run Holdfast on the server itself, without 'method:'"
)
_STOPPING_HINT = "the server stops, starts or recovers; try again"
_BY_STATE: dict[str, tuple[type[HoldfastError], str]] = {
    # undefined_file, said of a segment that "has already been removed" (src/backend/replication/walsender.c)
    "58P01": (WalRemovedError, "take a new base backup: WAL that nobody has any more cannot be recovered through"),
    "42704": (SlotMissingError, "make it: holdfast wal receive SERVICE --create-slot"),  # undefined_object
    "42710": (SlotExistsError, "give this one another name (wal: slot:)"),  # duplicate_object
    # object_in_use, said of a slot that "is active for PID …" (src/backend/replication/slot.c)
    "55006": (SlotBusyError, "end the other receiver or standby, or give this one a slot of its own (wal: slot:)"),
    # object_not_in_prerequisite_state, said of a slot that "has been invalidated" (slot.c)
    "55000": (SlotInvalidError, "holdfast wal receive SERVICE --create-slot makes it anew"),
    # configuration_limit_exceeded, as "all replication slots are in use" (slot.c)
    "53400": (ServerError, "drop a slot that is not used, or raise max_replication_slots"),
    "42501": (ServerError, "as a superuser: ALTER ROLE … REPLICATION"),  # insufficient_privilege
    "57P01": (ServerUnreachableError, _STOPPING_HINT),  # admin_shutdown
    "57P02": (ServerUnreachableError, _STOPPING_HINT),  # crash_shutdown
    "57P03": (ServerUnreachableError, _STOPPING_HINT),  # cannot_connect_now
}


def connection_refusal(words: str, given: Given) -> HoldfastError:
    """Return the error for a replication connection that did not come about, with the line that would allow it."""
    error = refusal(words, given)
    if _CLOSED_STANDBY in words:
        return ServerUnreachableError(
            error.message, hint="set hot_standby = on and restart the server, or back its primary up"
        )
    if isinstance(error, ServerUnreachableError):
        return error
    if entry_hint := _entry_hint(words):
        return ServerError(error.message, hint=entry_hint)
    if any(sign in words for sign in _NO_PRIVILEGE):
        user = str(given.get("user") or "the role").replace('"', '""')
        return ServerError(error.message, hint=f'as a superuser: ALTER ROLE "{user}" REPLICATION')
    if _NO_SENDER in words:
        hint = _NO_SENDERS_HINT if "(currently 0)" in words else _SENDERS_HINT
        return NoSenderError(f"the server has no WAL sender left: {error.message}", hint=hint)
    return error


def command_refusal(doing: str, result: PGresult) -> HoldfastError:
    """Return the error for a replication command, or a stream, that the server ended with an error."""
    return server_refusal(doing, complaint_of(result))


def complaint_of(result: PGresult) -> Complaint:
    """Return what a server said against something, or libpq in its place."""
    state = _field(result, DiagnosticField.SQLSTATE)
    if not state:
        return Complaint(words=" ".join(result.error_message.decode(errors="replace").split()))
    return Complaint(
        _field(result, DiagnosticField.MESSAGE_PRIMARY),
        state,
        _field(result, DiagnosticField.MESSAGE_DETAIL),
        _field(result, DiagnosticField.MESSAGE_HINT),
    )


def server_refusal(doing: str, complaint: Complaint) -> HoldfastError:
    """Return the error for what a server said against something that was being done."""
    if not complaint.state:
        return ServerUnreachableError(f"{doing}: {complaint.words}", hint="look at the server's log, then try again")
    message = f"{doing}: {complaint.words}{f' ({complaint.detail})' if complaint.detail else ''}"
    if complaint.state == "55000" and "slot" not in complaint.words:
        return ServerError(message, hint=complaint.hint or None)
    if _TOO_LONG in complaint.words:
        return ServerError(message, hint=_TOO_LONG_HINT)
    kind, our_hint = _BY_STATE.get(complaint.state, (ServerError, None))
    return kind(message, hint=our_hint or complaint.hint or None)


def connection_lost(doing: str, error: psycopg.Error) -> ServerUnreachableError:
    """Return the error for a connection that broke while it was read from or written to."""
    words = " ".join(str(error).split())
    return ServerUnreachableError(f"{doing}: {words}", hint="the connection was lost; try again")


def _field(result: PGresult, which: DiagnosticField) -> str:
    return (result.error_field(which) or b"").decode(errors="replace")


def _entry_hint(words: str) -> str | None:
    """Return the line for pg_hba.conf, and where it goes; "replication" is a keyword there, which "all" leaves out."""
    for pattern, what in _ENTRY_HINTS:
        if match := pattern.search(words):
            host, user = match[1], f'"{match[2]}"'
            if host == "[local]":
                return f"{what}local  replication  {user}  peer"
            return f"{what}host  replication  {user}  {host}/{128 if ':' in host else 32}  scram-sha-256"
    return None
