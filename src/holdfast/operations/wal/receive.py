"""Receive the WAL of one service into its archive, or drop the slot that this needs."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.config.choose import choose_repository, choose_service
from holdfast.errors import StorageError, reason_of
from holdfast.operations.wal.compilation import spool_directory, zstd_level
from holdfast.operations.wiring import connection_string, open_stack_repository
from holdfast.postgres.replication import ReplicationConnection, require_slot_name
from holdfast.postgres.replication_refusals import SlotMissingError
from holdfast.wal.archive import WalArchive
from holdfast.wal.receive import ReceiveOptions, Receiver
from holdfast.wal.receive_slot import SlotWish
from holdfast.wal.receive_state import ReceiveStateFile, tell_slot_dropped

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.config.models import Stack
    from holdfast.progress import Reporter
    from holdfast.wal.follow import StopSignal
    from holdfast.wal.receive_state import ReceiveState

_NOT_IN_A_SLOT_NAME = re.compile(r"[^a-z0-9_]")
_LONGEST_SLOT_NAME = 63


@dataclass(frozen=True)
class ReceiveRequest:
    """What a user asks for. ``makes_slot``: make the slot when it is missing, or holds nothing any more."""

    service: str
    repository: str | None
    makes_slot: bool


def receive(stack: Stack, request: ReceiveRequest, stop: StopSignal, reporter: Reporter) -> ReceiveState:
    """Receive until the stop signal; return how far it came."""
    config = choose_service(stack, request.service)
    _, target = choose_repository(stack, asked=request.repository, service=request.service)
    repository = open_stack_repository(stack, request.repository, request.service)
    spool = _made_spool(spool_directory(stack, request.service))

    def open_archive(system_identifier: str) -> WalArchive:
        level = zstd_level(target.compression)
        return WalArchive(repository.storage, repository.keys, system_identifier, level=level, scratch=str(spool))

    slot = slot_name(stack, request.service)
    state = ReceiveStateFile(spool, request.service, slot, reporter)
    options = ReceiveOptions(
        conninfo=connection_string(config),
        slot=SlotWish(slot, request.makes_slot),
        spool=spool,
        piece_interval_s=config.wal.piece_interval.total_seconds(),
    )
    Receiver(options, open_archive, state, stop, reporter).run()
    return state.state


def drop_slot(stack: Stack, service: str) -> str:
    """Drop the slot of a service's receiver, and return its name: the server may recycle the WAL that it held.

    Nobody misses it from then on, also where it was gone already; that is a SlotMissingError.
    """
    config, slot = choose_service(stack, service), slot_name(stack, service)
    with ReplicationConnection.connect(connection_string(config), slot) as connection:
        try:
            connection.drop_slot(slot)
        except SlotMissingError as error:
            tell_slot_dropped(spool_directory(stack, service))
            raise SlotMissingError(error.message, hint="nothing is left to do") from error
    tell_slot_dropped(spool_directory(stack, service))
    return slot


def slot_name(stack: Stack, service: str) -> str:
    """Return the name of a service's slot: as configured, or made from the service's."""
    configured = choose_service(stack, service).wal.slot
    slot = configured or f"holdfast_{_NOT_IN_A_SLOT_NAME.sub('_', service.lower())}"[:_LONGEST_SLOT_NAME]
    require_slot_name(slot)
    return slot


def _made_spool(spool: Path) -> Path:
    """Make the spool, as ``wal setup`` would have; an existing one stays as it is."""
    try:
        spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot make {spool}: {reason_of(error)}",
            hint=f"make it as root for this account ({os.geteuid()}), or set 'wal: spool:' of the service",
        ) from error
    return spool
