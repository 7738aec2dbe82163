"""The swap: a proven restore takes the place of what is in service, by rename, and gives it back if it does not work.

An intent with every path is durable before anything is stopped. As long as it is there, the swap is unfinished: the
next run finishes it, or turns it back, from wherever it was cut off. Nothing is deleted on this way.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from holdfast import clock, crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.errors import HoldfastError, InterruptedRunError, reason_of
from holdfast.restore.checkpoint import Checkpoint, forget_checkpoint, read_checkpoints, record_checkpoint
from holdfast.restore.exchange import Parked, Step, count_done, exchange, exchange_back, stranger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.progress import Reporter
    from holdfast.restore.state import StateDirectory

_INTENT = "swap.json"


class SwapIntent(msgspec.Struct, frozen=True, kw_only=True):
    """What a swap is about to do, or was doing when it was cut off.

    ``steps`` bring ``incoming`` into service at ``home``. ``checkpoint`` is recorded when that has worked (None where
    nothing was in service), and the checkpoint ``consumed`` is forgotten: it is what came back into service.
    ``is_turned_back``: it did not work, and the steps are being undone. ``was_running``: so was the server before.
    """

    id: str
    action: str
    begun: str
    home: str
    incoming: Parked
    incoming_identity: str
    checkpoint: Checkpoint | None
    consumed: Checkpoint | None = None
    steps: tuple[Step, ...] = ()
    was_running: bool = True
    is_turned_back: bool = False


class Switch(Protocol):
    """The server of a service, as a swap needs it."""

    def stop(self) -> None:
        """Stop the server and make sure that nothing runs in its directory; one that does not run is no error."""
        ...

    def end(self) -> None:
        """Stop the server in any way that loses nothing committed: it did not work, and is in the way."""
        ...

    def start(self) -> None:
        """Start the server, unless it runs, and wait until it takes connections."""
        ...

    def check(self, identity: str) -> None:
        """Raise HoldfastError unless what answers is the cluster of that identity, and is well."""
        ...


@dataclass(frozen=True)
class SwapOutcome:
    """A swap that was carried out; ``outage_s`` from the order to stop until connections were taken again."""

    intent: SwapIntent
    outage_s: float | None


class SwapPutBackError(HoldfastError):
    """The swap did not work, and what was in service is in service again; ``outage_s`` as in SwapOutcome."""

    def __init__(self, cause: HoldfastError, intent: SwapIntent, outage_s: float) -> None:
        back = "and started" if intent.was_running else "and, as before, not started"
        super().__init__(
            f"the swap failed: {cause.message}",
            hint=cause.hint,
            details=(*cause.details, f"what was there before is back in {intent.home} {back}"),
        )
        if isinstance(cause, InterruptedRunError):
            self.exit_code = cause.exit_code
        self.outage_s = outage_s


def unfinished_swap(state: StateDirectory) -> SwapIntent | None:
    """Return the swap that was cut off, None when there is none."""
    return state.read(_INTENT, SwapIntent)


def swap(state: StateDirectory, intent: SwapIntent, switch: Switch, reporter: Reporter) -> SwapOutcome:
    """Carry a swap out, from the beginning or from where it was cut off.

    Raises SwapPutBackError when it did not work and was undone; any other error leaves the intent to the next run.
    """
    _require_no_stranger(intent)
    state.write(_INTENT, intent)
    crashpoint.reach(CrashPoint.SWAP_INTENDED)
    began = clock.monotonic()
    try:
        _bring_into_service(intent, switch, reporter)
        outage_s = clock.monotonic() - began
        reporter.phase("checking the service")
        switch.check(intent.incoming_identity)
        crashpoint.reach(CrashPoint.SWAP_CHECKED)
    except (HoldfastError, OSError, KeyboardInterrupt) as error:
        cause = _understood(error)
        reporter.warning(f"{cause.message}; putting back what was there")
        put_back(state, intent, switch, reporter)
        raise SwapPutBackError(cause, intent, clock.monotonic() - began) from error
    _record(state, intent)
    return SwapOutcome(intent, outage_s)


def put_back(state: StateDirectory, intent: SwapIntent, switch: Switch, reporter: Reporter) -> None:
    """Undo a swap, wherever it is: what was in service comes back, and what was to come is parked again."""
    _require_no_stranger(intent)
    intent = msgspec.structs.replace(intent, is_turned_back=True)
    try:
        state.write(_INTENT, intent)
    except HoldfastError as error:  # a full disk, perhaps: the service must come back all the same
        reporter.warning(f"that the swap is turned back could not be written down: {error.message}")
    crashpoint.reach(CrashPoint.SWAP_TURNED_BACK)
    reporter.phase("putting back what was in service")
    if count_done(intent.steps):
        switch.end()
        with _told_where_all_is(intent):
            exchange_back(intent.steps)
    crashpoint.reach(CrashPoint.SWAP_PUT_BACK)
    if intent.consumed is not None and intent.consumed not in read_checkpoints(state):
        record_checkpoint(state, intent.consumed)
    if intent.checkpoint is not None:
        forget_checkpoint(state, intent.checkpoint.id)
        _remove_emptied(intent.checkpoint.parked)
    if intent.was_running:
        with _told_that_all_is_back(intent):
            switch.start()
    state.remove(_INTENT)


def _require_no_stranger(intent: SwapIntent) -> None:
    """Raise HoldfastError when somebody else's directory took a place of the exchange: it must not pass for ours."""
    step = stranger(intent.steps)
    if step is not None:
        raise HoldfastError(
            f"the exchange was cut off, and something else has made {intent.home} since: {step.destination} is there, "
            f"and so is {step.source}",
            hint=f"nothing is lost: move away what is in {intent.home} now, then run the same command again",
        )


def _bring_into_service(intent: SwapIntent, switch: Switch, reporter: Reporter) -> None:
    if count_done(intent.steps) < len(intent.steps):
        reporter.phase("stopping the server")
        _stop(switch)
        crashpoint.reach(CrashPoint.SWAP_STOPPED)
        exchange(intent.steps)
    reporter.phase("starting the server")
    switch.start()
    crashpoint.reach(CrashPoint.SWAP_STARTED)


def _stop(switch: Switch) -> None:
    """Stop the server. An order to stop cannot be taken back, so an interruption waits until it has stopped."""
    try:
        switch.stop()
    except KeyboardInterrupt:
        switch.stop()
        raise


def _record(state: StateDirectory, intent: SwapIntent) -> None:
    """Write down what is a checkpoint now, and what is no longer; then the swap is finished."""
    if intent.checkpoint is not None:
        record_checkpoint(state, intent.checkpoint)
    crashpoint.reach(CrashPoint.SWAP_RECORDED)
    if intent.consumed is not None:
        forget_checkpoint(state, intent.consumed.id)
    crashpoint.reach(CrashPoint.SWAP_RECORDED)
    _remove_emptied(intent.incoming)
    state.remove(_INTENT)
    crashpoint.reach(CrashPoint.SWAP_FINISHED)


def _remove_emptied(parked: Parked) -> None:
    """Remove the directories that parts lay in while they were parked."""
    for outside in parked.outsides:
        with suppress(OSError):  # whatever keeps it does no harm
            Path(outside.parked).rmdir()


def _understood(error: HoldfastError | OSError | KeyboardInterrupt) -> HoldfastError:
    match error:
        case HoldfastError():
            return error
        case OSError():
            return HoldfastError(
                f"{error.filename}: {reason_of(error)}", hint="run as the owner of the data directory or as root"
            )
    return InterruptedRunError("interrupted", hint="run the same command again")


@contextmanager
def _told_that_all_is_back(intent: SwapIntent) -> Iterator[None]:
    """Turn a failure to start what was put back into an error that says how far that came."""
    try:
        yield
    except HoldfastError as error:
        raise HoldfastError(
            f"what was there before is back in {intent.home}, but not started: {error.message}",
            hint="nothing is lost: remove the cause, then run 'holdfast restore SERVICE --undo' to start it",
            details=(*error.details, *([error.hint] if error.hint else [])),
        ) from error


@contextmanager
def _told_where_all_is(intent: SwapIntent) -> Iterator[None]:
    """Turn a failure while putting back into an error that says where everything is."""
    try:
        yield
    except (HoldfastError, OSError) as error:
        done = count_done(intent.steps)
        raise HoldfastError(
            f"what was in service could not be put back: {_understood(error).message}",
            hint="nothing is lost: remove the cause, then run 'holdfast restore SERVICE --undo' to go on",
            details=tuple(str(step) for step in intent.steps[:done]),
        ) from error
