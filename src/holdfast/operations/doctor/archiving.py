"""Whether a service's WAL is archived as it was set up: a command that does nothing reports success for ever."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast.config.choose import choose_service
from holdfast.errors import HoldfastError
from holdfast.operations.doctor.finding import Finding, fine, weak
from holdfast.operations.wal.compilation import program, settings_path, spool_directory
from holdfast.operations.wal.setup import archiving_settings, setting_lines
from holdfast.operations.wiring import connection_string
from holdfast.postgres.server import Server
from holdfast.wal.queue import read_state
from holdfast.wal.settings import is_stale, read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.config.models import Stack


def examine_archiving(subject: str, stack_file: Path, stack: Stack, service: str) -> Iterator[Finding]:
    """Yield what was found; nothing where the server does not answer, which was said before."""
    try:
        with Server.connect(connection_string(choose_service(stack, service))) as server:
            mode, command = server.archive_mode(), server.archive_command()
    except HoldfastError:
        return
    path, wanted = settings_path(stack, service), archiving_settings(stack, service, program(stack_file))
    lines = tuple(setting_lines(wanted))
    if not os.path.lexists(path):
        words = "its WAL is not archived by Holdfast"
        yield fine(subject, f"{words}: 'holdfast wal setup {service}' prepares that, then in postgresql.conf:", lines)
        return
    if mode == "off":
        remedy = "put these lines into postgresql.conf, then restart the server"
        yield weak(subject, "archive_mode is off: its WAL is not archived", remedy, lines)
    elif command != wanted["archive_command"]:
        yield weak(
            subject,
            f"archive_command is not the one that 'holdfast wal setup {service}' gave: {command}",
            "put these lines into postgresql.conf, then reload the server's configuration",
            lines,
        )
    else:
        yield fine(subject, "archive_command is the one that was set up")
    yield from _settings(subject, str(path), service)
    yield from _state(subject, str(spool_directory(stack, service)))


def _settings(subject: str, path: str, service: str) -> Iterator[Finding]:
    try:
        settings = read_settings(path)
    except HoldfastError as error:
        yield weak(subject, error.message, error.hint or f"holdfast wal setup {service}")
        return
    if is_stale(settings):
        yield weak(
            subject, "the stack file was edited since archiving was set up", f"run 'holdfast wal setup {service}'"
        )


def _state(subject: str, spool: str) -> Iterator[Finding]:
    state = read_state(spool)
    if state is not None and state.failure is not None:
        since, message = state.failure.since, state.failure.message
        yield weak(subject, f"shipping WAL has failed since {since}: {message}", state.failure.hint or "see above")
    if state is not None and state.is_full:
        yield weak(subject, f"the queue is full: {state.queue}", "make the repository reachable; watch pg_wal's disk")
