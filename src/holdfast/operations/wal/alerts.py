"""What about a service's archive must not stay as it is: each alert makes ``wal status`` end with exit code 3.

An alert says that something cannot be recovered, or soon will not be; all else that status shows is a number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.segment import Segment, is_segment_name
from holdfast.wal.names import taken_name
from holdfast.wal.receive import is_named
from holdfast.wal.rival import REMEDY, rival_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.operations.wal.status import WalStatus
    from holdfast.postgres.archiving import ArchivingFacts
    from holdfast.postgres.timeline import Timeline
    from holdfast.wal.coverage import Coverage
    from holdfast.wal.gaps import Gap

_MOST_GAPS = 10
_CANNOT_CROSS = "recovery cannot cross it: take a backup now, unless the files turn up and can be pushed"
_LOST_INSTANTS = "a later snapshot opens a new window; the instants between are lost, unless the files turn up"
_PATIENCE = timedelta(minutes=5)
"""How long a segment may wait to be archived before somebody is told."""
_LOST_SLOT = frozenset({"unreserved", "lost"})


class AlertKind(StrEnum):
    """What is wrong."""

    REPOSITORY = "repository"
    SNAPSHOT = "snapshot"
    GAP = "gap"
    CONFLICT = "conflict"
    GIVEN_UP = "given up"
    HISTORY = "history"
    FALSELY_ARCHIVED = "falsely archived"
    FAILING = "failing"
    QUEUE_FULL = "queue full"
    WAITING = "waiting"
    SLOT = "slot"
    IDLE = "nothing archives"
    LOST = "lost"
    SWAP = "unfinished swap"


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that is wrong, and what to do about it."""

    kind: AlertKind
    words: str
    remedy: str


def find_alerts(status: WalStatus) -> Iterator[Alert]:
    """Yield what is wrong, the worst first."""
    if (error := status.repository_error) is not None:
        words = f"the repository cannot be asked, so nothing is known of snapshots and windows: {error.message}"
        yield Alert(AlertKind.REPOSITORY, words, error.hint or "see whether it can be reached from here")
    for damage in status.damages:
        yield Alert(AlertKind.SNAPSHOT, f"a snapshot does not open: {damage.message}", "run 'holdfast check'")
    if status.coverage is not None:
        yield from _of_conflicts(status, status.coverage)
        yield from _of_rival(status)
        yield from _of_archive(status, status.coverage)
        yield from _falsely_archived(status, status.coverage)
        yield from _lost(status, status.coverage)
    yield from _of_slot(status)
    yield from _of_queue(status)
    yield from _of_idleness(status)


def _of_conflicts(status: WalStatus, coverage: Coverage) -> Iterator[Alert]:
    """Say of bytes that are kept apart what they are, and where; no recovery ever reads them."""
    for file in coverage.listing.conflicts:
        taken = taken_name(file.name)
        words = (
            f"other bytes were pushed under a name that is taken, {taken}, at {clock.in_utc(file.modified)}: "
            f"kept as {file.name}"
        )
        remedy = (
            f"a clone or an old primary archives here: look in the servers' logs for the refusal of {taken} at that "
            "time, stop that one, or give it an archive of its own; recovery uses the bytes that came first and never "
            f"these, so then delete them, which ends this alert: holdfast wal discard {status.service} {file.name}"
        )
        yield Alert(AlertKind.CONFLICT, words, remedy)


def _of_rival(status: WalStatus) -> Iterator[Alert]:
    """Say that another server has written the server's timeline; long before a segment of the two differs."""
    server, end = status.server, status.rival_end
    if server is not None and end is not None and server.system_identifier == status.system_identifier:
        yield Alert(AlertKind.CONFLICT, rival_words(server.timeline, end, server.lsn), REMEDY)


def _of_archive(status: WalStatus, coverage: Coverage) -> Iterator[Alert]:
    yield from _of_gaps(coverage, [gap for gap in coverage.gaps if gap.splits and not _is_on_its_way(status, gap)])
    for file in coverage.listing.gap_records:
        if coverage.lacks_needed(file.segment_name) and not _is_in_gap(coverage, file.segment_name):
            words = f"{file.segment_name} was given up, as the queue was full"
            yield Alert(AlertKind.GIVEN_UP, words, "recovery cannot cross it: take a backup now")
    for timeline in coverage.missing_histories:
        words = f"the history file of timeline {timeline} ({timeline.hex}.history) is not in the archive"
        yield Alert(AlertKind.HISTORY, words, _push_history(status, timeline))
    for timeline, error in sorted(coverage.unread.items()):
        yield Alert(
            AlertKind.HISTORY,
            f"the history file of timeline {timeline} does not open: {error.message}",
            error.hint or "run 'holdfast check'",
        )


def _push_history(status: WalStatus, timeline: Timeline) -> str:
    """Return what brings a history file into the archive; PostgreSQL asks for it once, and it may have begun later."""
    is_own = status.server is not None and status.server.timeline == timeline
    directory = status.server.data_directory if status.server is not None and is_own else "DATA"
    push = f"holdfast wal push {status.service} {directory}/pg_wal/{timeline.hex}.history"
    return push if is_own else f"on a server of that timeline, with its data directory: {push}"


def _of_gaps(coverage: Coverage, gaps: Sequence[Gap]) -> Iterator[Alert]:
    for gap in gaps[-_MOST_GAPS:]:
        remedy = _LOST_INSTANTS if coverage.has_snapshot_after(gap) else _CANNOT_CROSS
        yield Alert(AlertKind.GAP, gap_words(gap), remedy)
    if len(gaps) > _MOST_GAPS:
        words = f"{len(gaps) - _MOST_GAPS} more gaps before these"
        yield Alert(AlertKind.GAP, words, "'holdfast wal status --json' lists them all")


def _is_on_its_way(status: WalStatus, gap: Gap) -> bool:
    """Whether all of a gap waited to be archived, or was still being written or received, just before the survey.

    Segments leave several at a time: a later one may be in the archive first. What waits in vain is an alert itself.
    """
    waiting = status.waiting.names if status.waiting else frozenset()
    written = _first_unfinished(status.server, gap)
    return all(
        number >= written or Segment(gap.timeline, number, gap.first.size_bytes).name in waiting
        for number in range(gap.first.number, gap.last.number + 1)
    )


def _first_unfinished(server: ArchivingFacts | None, gap: Gap) -> float:
    """Return the number of the segment that a primary wrote, or its receiver stored, when it was asked."""
    if server is None or server.is_standby or server.timeline != gap.timeline:
        return math.inf
    position = server.lsn
    if server.slot is not None and server.slot.is_active and server.slot.restart_lsn:
        position = min(position, Lsn.parse(server.slot.restart_lsn))
    return position // gap.first.size_bytes


def _falsely_archived(status: WalStatus, coverage: Coverage) -> Iterator[Alert]:
    """Compare what the server counts as archived with what there is (FAULTS 6); the server was asked before it."""
    last = status.server.archiver.last_archived if status.server else None
    if last is not None and is_segment_name(last) and not coverage.holds(last):
        yield Alert(
            AlertKind.FALSELY_ARCHIVED,
            f"the server counts {last} as archived, and the archive does not have it",
            "look at archive_command: it must be the one that 'holdfast wal setup' prints",
        )


def _lost(status: WalStatus, coverage: Coverage) -> Iterator[Alert]:
    for lost in status.receive.lost_wal if status.receive else ():
        if any(coverage.lacks_needed(name) for name in (lost.first, lost.last)):
            yield Alert(
                AlertKind.LOST,
                f"the server no longer had {lost.first} to {lost.last} when the receiver asked for them",
                "recovery cannot cross that: take a backup now",
            )


def _of_slot(status: WalStatus) -> Iterator[Alert]:
    slot = status.server.slot if status.server is not None else None
    if status.server is not None and status.receive is not None and status.receive.slot and slot is None:
        words = f"the replication slot {status.receive.slot} of the receiver is not there"
        again = f"holdfast wal receive {status.service}"
        remedy = f"make it: {again} --create-slot; if nobody is to receive any more: {again} --drop-slot"
        yield Alert(AlertKind.SLOT, words, remedy)
    elif slot is not None and slot.wal_status in _LOST_SLOT:
        words = (
            f"the replication slot {slot.name} is {slot.wal_status}: the server has dropped WAL that it held, or will"
        )
        yield Alert(AlertKind.SLOT, words, "take a backup now; raise max_slot_wal_keep_size")
    elif slot is not None and not slot.is_active:
        words = f"nobody receives from the replication slot {slot.name}, and the server keeps all WAL for it"
        remedy = f"start 'holdfast wal receive {status.service}' again, or add --drop-slot"
        if is_named(slot.synchronous_standbys, slot.name):
            words += "; commits wait for the receiver"
            remedy += f"; to let them go on, take {slot.name} out of synchronous_standby_names, and reload"
        yield Alert(AlertKind.SLOT, words, remedy)


def _of_queue(status: WalStatus) -> Iterator[Alert]:
    push = status.push
    if push is not None and push.is_full:
        words = f"the queue is full: {push.queue}"
        yield Alert(AlertKind.QUEUE_FULL, words, "make the repository reachable; watch the disk of pg_wal")
    for segment in push.gaps if push is not None else ():
        words = f"{segment} was given up, as the queue was full; the archive does not know yet"
        yield Alert(AlertKind.GIVEN_UP, words, "recovery cannot cross it: take a backup when archiving works again")
    if push is not None and push.failure is not None:
        failure = push.failure
        words = f"shipping has failed since {failure.since}: {failure.message}"
        yield Alert(AlertKind.FAILING, words, failure.hint or "look at the server's log")
    elif status.server is not None and (failed := status.server.archiver.failing_at):
        words = f"archive_command fails: {status.server.archiver.last_failed} at {clock.in_utc(failed)}"
        yield Alert(AlertKind.FAILING, words, "look at the server's log")
    elif (waiting := status.waiting) and waiting.since and clock.now() - waiting.since > _PATIENCE:
        words = f"{waiting.segments} WAL segments wait since {clock.in_utc(waiting.since)}"
        yield Alert(AlertKind.WAITING, words, "look at the server's log: archive_command may not even start")


def _of_idleness(status: WalStatus) -> Iterator[Alert]:
    """Tell of an archive that was begun, and that nothing adds to any more."""
    server, coverage = status.server, status.coverage
    if server is None or coverage is None or server.archive_mode != "off" or not coverage.listing.timelines:
        return
    if server.slot is None or not server.slot.is_active:
        words = "the server archives nothing (archive_mode is off), and nobody receives its WAL"
        yield Alert(
            AlertKind.IDLE,
            words,
            f"'holdfast wal setup {status.service}' tells how to begin, or start 'holdfast wal receive' again; "
            f"if this is a cluster that Holdfast restored, 'holdfast wal adopt {status.service}' before",
        )


def gap_words(gap: Gap) -> str:
    """Return a gap in words."""
    names = gap.first.name if gap.segments == 1 else f"{gap.first.name} to {gap.last.name}"
    seen = f", seen {clock.in_utc(gap.seen)}" if gap.seen else ""
    return f"{gap.segments} WAL segment{'s' if gap.segments != 1 else ''} missing: {names}{seen}"


def _is_in_gap(coverage: Coverage, name: str) -> bool:
    return any(gap.splits and gap.first.name <= name <= gap.last.name for gap in coverage.gaps)
