"""One file of the archive, as recovery asks for it: proven before it is handed over, or proven not to be there.

"Not there" ends a recovery, so it is only said after a listing that shows the archive itself to be there, that has no
beginning of the segment (pieces, or the ``.partial`` of a promotion) and nothing of a later segment, and where the
history that recovery follows did not leave the timeline later either: what lies before something that was there is a
hole, and recovery must not take a hole for the end. Nor is it said of the history file of a timeline that there is WAL
of: recovery would take that timeline for one that never was, stay on the older one, and give its number away again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.errors import (
    DamageError,
    NotFoundError,
    StorageError,
    TargetNotReachableError,
    TransientStorageError,
    UsageError,
    VerificationError,
)
from holdfast.postgres.segment import Segment, partial_name
from holdfast.postgres.timeline import parse_history
from holdfast.wal.beginning import find_beginning
from holdfast.wal.names import WalFileKind, kind_of, object_name, timeline_of
from holdfast.wal.restore_command import Verdict
from holdfast.wal.validate import CheckedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from holdfast.repository.walframes import Content
    from holdfast.storage.base import Buffer
    from holdfast.wal.archive import WalArchive
    from holdfast.wal.names import ArchivedFile
    from holdfast.wal.route import Route

    Inspect = Callable[[Iterable[Buffer]], Iterator[Buffer]]

_ASKED_FOR = frozenset({WalFileKind.SEGMENT, WalFileKind.HISTORY, WalFileKind.PARTIAL, WalFileKind.BACKUP})
_WAL = frozenset({WalFileKind.SEGMENT, WalFileKind.PARTIAL})
_SHIPPED = frozenset({WalFileKind.SEGMENT, WalFileKind.PIECE, WalFileKind.PARTIAL})
_THERE = frozenset({Verdict.READY, Verdict.PART})
_GAP_HINT = "'holdfast wal status' shows the gaps and what is reachable"
_LOOKS = 5
_LISTED_BEFORE = 16
_LONG_HEADER_BYTES = 40
"""``SizeOfXLogLongPHD``: a segment of which there is less tells nothing."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What the archive has under a name: ``content`` in order, to be gone through once; see ``WalSource.whole``.

    ``length_bytes`` is the part of it that is WAL, not padding. ``gap`` is why recovery must not go on, if it must not.
    """

    verdict: Verdict
    content: Iterable[Buffer] = ()
    length_bytes: int = 0
    gap: TargetNotReachableError | None = None


class WalSource:
    """The archive of one cluster for one recovery. May be used from several threads.

    ``inspect`` gets each segment, or its beginning, in parts of whole pages, and gives them on; it raises to refuse it.
    """

    def __init__(self, archive: WalArchive, route: Route, inspect: Inspect = iter) -> None:
        self._archive, self._route, self._inspect = archive, route, inspect

    def fetch(self, name: str, lay: Callable[[Fetched], None]) -> Fetched:
        """Return the file, or the beginning of a segment, padded with zeros, or that there is neither.

        What there is, ``lay`` goes through before this returns; it is called anew where what the archive holds changed
        meanwhile. Raises DamageError, KeyRefusedError, StorageError: whatever must not look like "not there".
        """
        for _ in range(_LOOKS):
            try:
                fetched = self._look(name)
                if fetched.verdict in _THERE:
                    lay(fetched)
            except NotFoundError:  # a piece, listed but gone: its segment became whole meanwhile
                continue
            else:
                return fetched
        raise TransientStorageError(
            f"what the archive holds of {name} changes faster than it can be read", hint="try again in a moment"
        )

    def _look(self, name: str) -> Fetched:
        kind = kind_of(name)
        try:
            content = self.whole(name)
        except NotFoundError:
            match kind:
                case WalFileKind.SEGMENT:
                    return self._missing_segment(name)
                case WalFileKind.HISTORY:
                    return self._missing_history(name)
            return self._absent()
        if kind in _WAL:
            return Fetched(Verdict.READY, content, self._route.segment_size)
        text = b"".join(content)
        if kind is WalFileKind.HISTORY:
            self._route.learn(parse_history(timeline_of(name), text.decode()))
        return Fetched(Verdict.READY, [text], len(text))

    def whole(self, name: str) -> Iterator[Buffer]:
        """Return the content of a file that is whole in the archive; NotFoundError.

        Going through it raises DamageError, at the end at the latest, when it is not what its name says.
        """
        if (kind := kind_of(name)) not in _ASKED_FOR:
            raise UsageError(
                f"{name} is a file of the archive's own, which recovery does not ask for",
                hint="restore_command gives the name as %f: a segment, a history file or a partial segment",
            )
        stored = self._archive.open(name, self._route.segment_size)
        content = self._proven(name, stored)
        if kind is WalFileKind.SEGMENT:
            content = self._until_end(self._route.segment(name), content)
        return self._inspect(content) if kind in _WAL else content

    def _proven(self, name: str, stored: Content) -> Iterator[Buffer]:
        identifier = self._archive.system_identifier
        try:
            yield from CheckedContent(name, stored, identifier, self._route.segment_size).frames()
        except DamageError:
            raise
        except VerificationError as error:
            place = object_name(identifier, name)
            raise DamageError(place, f"the archive opens it, but {error.message}") from error
        crashpoint.reach(CrashPoint.FETCH_RECEIVED)

    def _until_end(self, segment: Segment, frames: Iterator[Buffer]) -> Iterator[Buffer]:
        """Blank what follows the end of the segment's timeline on this route."""
        left_bytes = self._route.own_bytes(segment)
        for frame in frames:
            yield frame if len(frame) <= left_bytes else bytes(frame[:left_bytes]).ljust(len(frame), b"\0")
            left_bytes = max(0, left_bytes - len(frame))

    def _missing_segment(self, name: str) -> Fetched:
        segment = self._route.segment(name)
        listed = self._around(segment)
        if (part := self._beginning(segment, listed)) is not None:
            return part
        if self._has_become_whole(name):
            raise NotFoundError(f"the pieces of {name} are gone")
        later = next((file.name for file in listed if _is_later(file, segment)), None)
        if later is not None:
            return _gap(f"the archive has {later}, but not {name}", segment)
        if self._route.leads_past(segment):
            return _gap(f"timeline {segment.timeline} was left after {name}, which the archive lacks", segment)
        return Fetched(Verdict.ABSENT) if listed else self._absent()

    def _missing_history(self, name: str) -> Fetched:
        """Say that a timeline has no history file, unless it has WAL, from which the file must have been lost."""
        timeline = timeline_of(name)
        if not self._route.depends_on(timeline):
            return self._absent()
        shipped = next((file.name for file in self._archive.list(timeline) if file.kind in _SHIPPED), None)
        if shipped is None:
            return self._absent()
        if self._has_become_whole(name):
            raise NotFoundError(f"{name} has come")
        error = TargetNotReachableError(
            f"the archive has {shipped}, but not {name}: recovery would go on as if there were no timeline {timeline}",
            hint=f"push {name} from pg_wal of a server that was on that timeline, or copy it into pg_wal here; to "
            f"leave the timeline aside, make an empty {name} in pg_wal and say recovery_target_timeline = 'current'",
        )
        return Fetched(Verdict.GAP, gap=error)

    def _beginning(self, segment: Segment, listed: tuple[ArchivedFile, ...]) -> Fetched | None:
        beginning = find_beginning(self._archive, segment, listed)
        if beginning is None or beginning.length_bytes < _LONG_HEADER_BYTES:
            return None
        content = self._until_end(segment, self._proven(partial_name(segment), beginning.content))
        length_bytes = min(beginning.length_bytes, self._route.own_bytes(segment))
        return Fetched(Verdict.PART, self._inspect(content), length_bytes)

    def _around(self, segment: Segment) -> tuple[ArchivedFile, ...]:
        """List from some segments before one, which show that there is an archive, to what is there of a later one."""
        before = Segment(segment.timeline, max(segment.number - _LISTED_BEFORE, 0), segment.size_bytes)
        listed: list[ArchivedFile] = []
        for file in self._archive.list_after(before.name):
            listed.append(file)
            if _is_later(file, segment):
                break
        return tuple(listed)

    def _has_become_whole(self, name: str) -> bool:
        """Whether a file is there that was not a moment ago: pieces of a segment have gone before they were listed."""
        try:
            self._archive.stamp(name)
        except NotFoundError:
            return False
        return True

    def _absent(self) -> Fetched:
        """Say that it is not there, where at least something is: an archive that lost everything is no archive."""
        if next(self._archive.list(), None) is None:
            identifier = self._archive.system_identifier
            raise StorageError(
                f"the repository holds no WAL of the cluster with the system identifier {identifier}",
                hint="is it the right repository, and the right service? 'holdfast wal status' shows what there is",
            )
        return Fetched(Verdict.ABSENT)


def _gap(what: str, segment: Segment) -> Fetched:
    words = f"{what}: recovery would end in a gap; recover to before {segment.start}"
    return Fetched(Verdict.GAP, gap=TargetNotReachableError(words, hint=_GAP_HINT))


def _is_later(file: ArchivedFile, segment: Segment) -> bool:
    return file.kind in _SHIPPED and file.segment_name > segment.name
