"""Receiving WAL as it is written: connect, find where to begin, follow timeline after timeline, and begin again.

What may pass (the server restarts, the repository is away) is waited for; the slot keeps the WAL on the server
meanwhile. What only a person can mend ends the receiver: a refusal, other bytes under a taken name, another cluster.
"""

from __future__ import annotations

import select
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import clock, crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.errors import (
    BusyError,
    HoldfastError,
    ServerError,
    ServerUnreachableError,
    StorageError,
    VerificationError,
)
from holdfast.postgres.replication import ReplicationConnection
from holdfast.postgres.replication_refusals import SlotInvalidError, SlotMissingError, WalRemovedError
from holdfast.postgres.segment import Segment, segment_at
from holdfast.postgres.timeline import first_history, parse_history
from holdfast.wal.follow import Follower, FollowTools
from holdfast.wal.ownership import NotAdoptedError, require_adopted_if_visible
from holdfast.wal.pieces import pieces_of, superseded
from holdfast.wal.receive_slot import SlotWish, prepared_slot
from holdfast.wal.receive_start import Origin, first_choice, last_choice, second_choice, survey_timeline
from holdfast.wal.receive_state import Activity
from holdfast.wal.rhythm import Rhythm
from holdfast.wal.rival import require_no_rival
from holdfast.wal.storer import Storer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from holdfast.postgres.replication import SystemIdentity
    from holdfast.postgres.timeline import Timeline, TimelineHistory
    from holdfast.progress import Reporter
    from holdfast.wal.archive import WalArchive
    from holdfast.wal.follow import StopSignal
    from holdfast.wal.receive_state import ReceiveStateFile

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 10.0
_BUSY_PATIENCE_S = 5.0
"""A receiver that was killed a moment ago still holds its slot, until the server notices."""


@dataclass(frozen=True)
class ReceiveOptions:
    """What to receive and how. ``piece_interval_s`` bounds how long a received byte waits to be stored."""

    conninfo: str
    slot: SlotWish
    spool: Path
    piece_interval_s: float


class Receiver:
    """Receives the WAL of one service. ``open_archive`` gives the archive of a system identifier."""

    def __init__(
        self,
        options: ReceiveOptions,
        open_archive: Callable[[str], WalArchive],
        state: ReceiveStateFile,
        stop: StopSignal,
        reporter: Reporter,
    ) -> None:
        self._options, self._open_archive, self._state = options, open_archive, state
        self._stop, self._reporter = stop, reporter
        self._has_streamed = False
        self._pause_s = _FIRST_PAUSE_S

    def run(self) -> None:
        """Receive until the stop signal; what was received is stored by then, and the server knows.

        Raises what does not pass by itself: ServerError, VerificationError, KeyRefusedError, BusyError when another
        one streams from the slot.
        """
        began = clock.monotonic()
        while not self._stop.is_set:
            try:
                self._session()
            except (ServerUnreachableError, StorageError, WalRemovedError, NotAdoptedError) as error:
                self._wait_after(error)
            except BusyError as error:
                if not self._has_streamed and clock.monotonic() - began > _BUSY_PATIENCE_S:
                    self._state.fail(error.message)
                    raise
                self._wait_after(error)
            except (SlotInvalidError, SlotMissingError) as error:  # taken away a moment after it was looked at
                if not self._options.slot.is_made:
                    self._state.fail(error.message)
                    raise
                self._wait_after(error)
            except HoldfastError as error:
                self._state.fail(error.message)
                raise
        self._state.state.activity = Activity.ENDED
        self._state.write()

    def _wait_after(self, error: HoldfastError) -> None:
        """Pause before the next attempt, longer each time, unless told to stop."""
        if self._state.state.last_error != error.message or self._state.state.activity is Activity.STREAMING:
            self._reporter.warning(f"{error.message}; trying again")
        self._state.fail(error.message)
        select.select([self._stop], [], [], self._pause_s)
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    def _session(self) -> None:
        """Receive until the server or the archive is lost, the server stops, or the stop signal comes."""
        options = self._options
        with ReplicationConnection.connect(options.conninfo, options.slot.name) as connection:
            system = connection.identify()
            self._require_same_cluster(system)
            _require_own(connection)
            is_synchronous = is_named(connection.setting("synchronous_standby_names"), options.slot.name)
            archive = self._open_archive(system.system_identifier)
            history = self._archived_history(connection, archive, system.timeline)
            slot = prepared_slot(connection, options.slot, self._reporter)
            size = connection.segment_size()
            surveyed = {
                entry.timeline: files
                for entry in history.entries
                if (files := survey_timeline(archive.list(entry.timeline), size)) is not None
            }
            if own := surveyed.get(system.timeline):
                require_no_rival(connection, system.timeline, own.end)
            origin = Origin(system, size, history, slot, surveyed)
            try:
                self._begin(_Session(connection, archive, origin, is_synchronous))
            except SlotInvalidError:
                if options.slot.is_made:
                    connection.drop_slot(options.slot.name)
                raise

    def _begin(self, session: _Session) -> None:
        """Follow from the first choice of a start, or from a later one when the server no longer has that WAL."""
        wanted = first_choice(session.origin)
        storer = self._storer(session, wanted)
        try:
            self._follow(session, wanted, storer)
        except WalRemovedError as error:
            held = second_choice(session.origin)
            start = held if held.number > wanted.number else last_choice(session.origin)
            if storer.stored or start.number <= wanted.number:  # it was there a moment ago: look again what is missing
                raise
            self._reporter.warning(f"{error.message}; {error.hint}")
            last = Segment(wanted.timeline, start.number - 1, wanted.size_bytes)
            self._state.lose(wanted.name, last.name, error.message)
            self._follow(session, start, self._storer(session, start))

    def _storer(self, session: _Session, segment: Segment) -> Storer:
        """Return what stores WAL from the start of a segment; pieces that are of no use any more are deleted."""
        files = list(session.archive.list(segment.timeline))
        storer = Storer(session.archive, segment, pieces_of(files, segment.name))
        storer.sweep(superseded(files))
        return storer

    def _follow(self, session: _Session, segment: Segment, storer: Storer) -> None:
        """Follow timelines from the start of a segment on."""
        try:
            rhythm = Rhythm(self._options.piece_interval_s, session.is_synchronous)
            tools = FollowTools(storer, rhythm, self._state, self._stop, self._options.spool)
            following: Segment | None = segment
            while following is not None:
                following = self._follow_one(session, following, tools)
        finally:
            storer.close()

    def _follow_one(self, session: _Session, segment: Segment, tools: FollowTools) -> Segment | None:
        """Follow one timeline; return where the next one begins, None when there is nothing more to receive."""
        stream = session.connection.stream(self._options.slot.name, segment.start, segment.timeline)
        follower = Follower(stream, segment, tools)
        self._note_streaming(segment, is_synchronous=session.is_synchronous)
        end = follower.run()
        if end is None:
            return None
        self._reporter.notice(f"timeline {segment.timeline} ended at {end.switch}: following timeline {end.next}")
        self._archived_history(session.connection, session.archive, end.next)
        return segment_at(end.switch, end.next, segment.size_bytes)

    def _note_streaming(self, segment: Segment, *, is_synchronous: bool) -> None:
        state = self._state.state
        state.activity, state.is_synchronous = Activity.STREAMING, is_synchronous
        self._has_streamed, self._pause_s = True, _FIRST_PAUSE_S
        how = ", as a synchronous standby" if is_synchronous else ""
        self._reporter.notice(f"receiving from {segment.start} on timeline {segment.timeline}{how}")
        self._state.write()

    def _archived_history(
        self, connection: ReplicationConnection, archive: WalArchive, timeline: Timeline
    ) -> TimelineHistory:
        """Return the past of a timeline, having put its file into the archive."""
        if timeline == 1:
            return first_history()
        name, content = connection.timeline_history(timeline)
        archive.push(name, content)
        crashpoint.reach(CrashPoint.RECEIVE_HISTORY_STORED)
        return parse_history(timeline, content.decode(errors="replace"))

    def _require_same_cluster(self, system: SystemIdentity) -> None:
        state = self._state.state
        if state.system_identifier not in {None, system.system_identifier}:
            raise VerificationError(
                f"this is another cluster: system identifier {system.system_identifier}, and until now this service"
                f" was {state.system_identifier}",
                hint=f"if the cluster was made anew on purpose, remove {self._options.spool}/receive.json",
            )
        state.system_identifier = system.system_identifier


@dataclass(frozen=True)
class _Session:
    """One connection, with what was found out at its beginning."""

    connection: ReplicationConnection
    archive: WalArchive
    origin: Origin
    is_synchronous: bool


def is_named(synchronous_standby_names: str, application_name: str) -> bool:
    """Whether a standby of this name may be a synchronous one (manual, section 20.6.2)."""
    listed = synchronous_standby_names.rpartition("(")[2].rstrip(")").split(",")
    return any(each.strip().strip('"').lower() in {application_name.lower(), "*"} for each in listed)


def _require_own(connection: ReplicationConnection) -> None:
    """Raise NotAdoptedError when the server runs in a restored directory, as far as this can be seen from here."""
    try:
        data_directory = connection.setting("data_directory")
    except ServerUnreachableError:
        raise
    except ServerError:
        return  # only some roles may know where it is
    require_adopted_if_visible(data_directory)
