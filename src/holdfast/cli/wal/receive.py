"""``holdfast wal receive``: run for ever, and take WAL from the server as it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from holdfast.cli.invocation import Invocation
from holdfast.cli.parameters import Service
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.config.models import Stack
    from holdfast.wal.receive_state import ReceiveState


def receive(
    ctx: typer.Context,
    service: Service,
    create_slot: bool = typer.Option(
        False, "--create-slot", help="Make the replication slot when it is missing or holds no WAL any more."
    ),
    drop_slot: bool = typer.Option(False, "--drop-slot", help="Drop the replication slot, and end."),
) -> None:
    """Receive WAL from the server as it is written, and store it; runs until it is told to stop."""
    run = Invocation.of(ctx)
    if create_slot and drop_slot:
        raise UsageError("--create-slot and --drop-slot exclude each other", hint="give one of them")
    stack = run.stack()
    if drop_slot:
        _drop(run, stack, service)
    else:
        _receive(run, stack, service, makes_slot=create_slot)


def _receive(run: Invocation, stack: Stack, service: str, *, makes_slot: bool) -> None:
    from holdfast.cli.stopping import StopOnSignal
    from holdfast.operations.wal.receive import ReceiveRequest
    from holdfast.operations.wal.receive import receive as operation

    request = ReceiveRequest(service, run.repository, makes_slot)
    with StopOnSignal() as stop, run.reporter() as reporter:
        state = operation(stack, request, stop, reporter)
    run.output.emit("wal_received", _message(state), lambda: _words(state))
    stop.require_uninterrupted()


def _drop(run: Invocation, stack: Stack, service: str) -> None:
    from holdfast.operations.wal.receive import drop_slot

    slot = drop_slot(stack, service)
    message = {"service": service, "slot": slot}
    run.output.emit("slot_dropped", message, lambda: f"dropped the replication slot {slot}")


def _message(state: ReceiveState) -> dict[str, object]:
    return {
        "service": state.service,
        "slot": state.slot,
        "system_identifier": state.system_identifier,
        "timeline": state.timeline,
        "received_lsn": state.received_lsn,
        "stored_lsn": state.stored_lsn,
    }


def _words(state: ReceiveState) -> str:
    if state.stored_lsn is None:
        return f"{state.service}: nothing was received"
    return f"{state.service}: stored up to {state.stored_lsn} on timeline {state.timeline}"
