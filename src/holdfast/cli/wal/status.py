"""``holdfast wal status``: what can be recovered, and what about the archive must not stay as it is."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import typer

from holdfast.cli import text
from holdfast.cli.completion import service_names
from holdfast.cli.invocation import Invocation
from holdfast.cli.wal.status_message import status_message
from holdfast.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.operations.wal.alerts import Alert
    from holdfast.operations.wal.status import WalStatus
    from holdfast.wal.coverage import Coverage
    from holdfast.wal.windows import Window

_MOST_GAPS = 10


def status(
    ctx: typer.Context,
    service: str | None = typer.Argument(
        None, help="The service, by its name in the stack file; all, without one.", autocompletion=service_names
    ),
) -> int:
    """Show the windows of recovery, gaps, lag and the slot; exit code 3 when something cannot be recovered, or soon."""
    from holdfast.operations.wal.alerts import find_alerts
    from holdfast.operations.wal.status import wal_statuses

    run = Invocation.of(ctx)
    stack = run.stack()
    outcome = ExitCode.DONE
    for found in wal_statuses(stack, [service] if service is not None else stack.services, run.repository):
        alerts = list(find_alerts(found))
        run.output.emit("wal_status", status_message(found, alerts), partial(_words, found, alerts))
        outcome = ExitCode.PARTIAL if alerts else outcome
    return outcome


def _words(status: WalStatus, alerts: Sequence[Alert]) -> str:
    lines = [status.service, *(f"  {title:<9}{words}" for title, words in _rows(status))]
    for alert in alerts:
        lines += [f"  ALERT    {alert.words}", f"           HINT: {alert.remedy}"]
    return "\n".join(lines)


def _rows(status: WalStatus) -> Iterator[tuple[str, str]]:
    yield "server", _server(status)
    if status.repository_error is not None:
        yield "archive", "the repository cannot be asked"
        yield from _flow(status)
        return
    if status.coverage is None:
        yield "archive", "nothing tells yet which cluster this is: no server answers, and there is no snapshot"
        return
    yield "archive", _archive(status.coverage)
    windows = status.coverage.windows
    for window in windows:
        yield "window", window_words(window)
    if not windows:
        yield "window", "none: there is no complete snapshot, and WAL alone recovers nothing"
    yield from _gaps(status.coverage)
    yield from _promotions(status.coverage)
    yield from _flow(status)


def _server(status: WalStatus) -> str:
    server = status.server
    if server is None:
        return f"does not answer: {status.server_error.message if status.server_error else 'not asked'}"
    role = "standby" if server.is_standby else "primary"
    return f"{role} on timeline {server.timeline} at {server.lsn}, archive_mode {server.archive_mode}"


def _archive(coverage: Coverage) -> str:
    held = [each for each in coverage.holdings.values() if each.first is not None]
    if not held:
        return "no WAL yet: 'holdfast wal setup' begins it"
    segments = text.count(sum(each.count for each in held), "segment")
    stored = text.size(sum(each.stored_bytes for each in held))
    timelines = ", ".join(str(each.timeline) for each in held)
    return f"{segments} ({stored}) of timeline{'s' if len(held) > 1 else ''} {timelines}"


def window_words(window: Window) -> str:
    """Return a window of recovery in words: times first, as those are what people ask for."""
    times = (
        f"{text.instant(window.start_time)} to {text.instant(window.end_time)}, "
        if window.start_time and window.end_time
        else ""
    )
    begins = f" (of timeline {window.start_timeline})" if window.start_timeline != window.timeline else ""
    snapshots = text.count(len(window.snapshots), "snapshot")
    return f"timeline {window.timeline}: {times}{window.start}{begins} to {window.end}, from {snapshots}"


def _gaps(coverage: Coverage) -> Iterator[tuple[str, str]]:
    from holdfast.operations.wal.alerts import gap_words

    harmless = [gap for gap in coverage.gaps if not gap.splits]
    for gap in harmless[:_MOST_GAPS]:
        yield "gap", f"{gap_words(gap)} (no snapshot needs it)"
    if len(harmless) > _MOST_GAPS:
        yield "gap", f"and {len(harmless) - _MOST_GAPS} more that no snapshot needs"


def _promotions(coverage: Coverage) -> Iterator[tuple[str, str]]:
    servers = Counter(file.segment_name for file in coverage.listing.other_partials)
    for segment, others in sorted(servers.items()):
        yield "kept", f"{others + 1} beginnings of {segment}, of servers promoted in it; recovery reads the longest"


def _flow(status: WalStatus) -> Iterator[tuple[str, str]]:
    lag, waiting, slot = status.lag, status.waiting, status.server.slot if status.server else None
    if lag is not None:
        age = f", {text.duration(lag.seconds)} since the last" if lag.seconds is not None and lag.size_bytes else ""
        yield "lag", f"{text.size(lag.size_bytes)} in {text.count(lag.segments, 'segment')}{age}"
    if waiting is not None and waiting.segments:
        since = f" since {text.instant(waiting.since)}" if waiting.since else ""
        yield "waiting", f"{text.count(waiting.segments, 'segment')}{since}"
    if status.receive is not None:
        yield "receiver", f"{status.receive.activity}, stored up to {status.receive.stored_lsn or 'nothing yet'}"
    if slot is not None:
        active = "active" if slot.is_active else "not active"
        held = f", holds {text.size(slot.retained_bytes)}" if slot.retained_bytes is not None else ""
        yield "slot", f"{slot.name}: {active}, {slot.wal_status}, from {slot.restart_lsn}{held}"
