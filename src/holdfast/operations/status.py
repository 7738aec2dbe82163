"""The stack at a glance: of each service its last snapshot, its newest window of recovery, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.operations.in_place.place import service_state
from holdfast.operations.wal.alerts import Alert, AlertKind, find_alerts
from holdfast.operations.wal.status import wal_statuses
from holdfast.restore.checkpoint import read_checkpoints
from holdfast.restore.exchange import count_done
from holdfast.restore.staging import abandoned_staging
from holdfast.restore.swap import unfinished_swap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.config.models import Stack
    from holdfast.operations.wal.status import WalStatus
    from holdfast.repository.snapshot import Snapshot
    from holdfast.restore.checkpoint import Checkpoint
    from holdfast.restore.staging import StagedRestore
    from holdfast.restore.swap import SwapIntent
    from holdfast.wal.windows import Window


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service. ``last`` is its last complete snapshot; ``window`` its newest window.

    ``checkpoints`` are what was in service before restores in place, and is kept on this machine; ``leftover`` is what
    a restore in place has staged, and has not brought into service: it is at work, or was cut off.
    """

    wal: WalStatus
    last: Snapshot | None
    window: Window | None
    alerts: tuple[Alert, ...]
    checkpoints: tuple[Checkpoint, ...]
    leftover: StagedRestore | None


def status(stack: Stack, asked: str | None) -> Iterator[ServiceStatus]:
    """Yield the services of the stack, in its order; raises what ``wal_statuses`` does."""
    for wal in wal_statuses(stack, stack.services, asked):
        state = service_state(stack, wal.service)
        swap = unfinished_swap(state)
        yield ServiceStatus(
            wal=wal,
            last=next((each for each in reversed(wal.snapshots) if each.is_complete), None),
            window=_newest_window(wal),
            alerts=(*([_of_swap(swap, wal.service)] if swap else []), *find_alerts(wal)),
            checkpoints=tuple(read_checkpoints(state)),
            leftover=abandoned_staging(state) if swap is None else None,
        )


def _of_swap(swap: SwapIntent, service: str) -> Alert:
    """Return what is said of a swap that is not finished; whether a run is at work on it cannot be seen from here."""
    what = "turning back the swap" if swap.is_turned_back else "the swap"
    finish, back = f"'holdfast restore {service}' finishes it", f"'holdfast restore {service} --undo' turns it back"
    if not swap.is_turned_back and count_done(swap.steps) == 0:
        finish += ", or restores anew where the server runs, as nothing was exchanged yet"
    return Alert(
        AlertKind.SWAP,
        f"{what} of the {swap.action} begun {swap.begun} in {swap.home} was cut off, or is still at work",
        f"if no run is at work: {finish}" if swap.is_turned_back else f"if no run is at work: {finish}, {back}",
    )


def _newest_window(wal: WalStatus) -> Window | None:
    """Return the last window of the timeline that the server is on; where that has none, of the newest timeline."""
    windows = wal.coverage.windows if wal.coverage else ()
    own = [each for each in windows if wal.server is not None and each.timeline == wal.server.timeline]
    return next(reversed(own or windows), None)
