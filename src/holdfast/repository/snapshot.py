"""The snapshot object: the only commit of a backup. What is not named by one does not exist."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from holdfast.errors import DamageError, UsageError
from holdfast.model import ObjectId
from holdfast.repository.sealed import ObjectType, open_record, seal_object

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.repository.keys import Keys
    from holdfast.storage.base import Buffer

SNAPSHOT_PREFIX = "snapshots"
LATEST = "latest"
_SHORT = 8
_NEAR = 3


class SnapshotStats(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup counted: files and bytes as the source has them, and what they cost here."""

    files: int = 0
    size_bytes: int = 0
    files_read: int = 0
    bytes_read: int = 0
    new_chunks: int = 0
    new_plain_bytes: int = 0
    stored_bytes: int = 0
    seconds: dict[str, float] = {}


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One backup of one service. Times are ISO 8601 in UTC; ``facts`` belong to the kind of service.

    ``is_complete``: nothing of the service is missing. ``is_clean``: the service itself showed no corruption.
    ``warnings`` says what is missing or corrupt, and whatever else the operator should look into.
    """

    id: ObjectId
    stack: str
    service: str
    kind: str
    host: str
    started: str
    ended: str
    tool_version: str
    manifest: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    is_complete: bool
    is_clean: bool
    is_encrypted: bool
    parent: ObjectId | None = None
    tags: tuple[str, ...] = ()
    stats: SnapshotStats = SnapshotStats()
    facts: dict[str, Any] = {}
    warnings: tuple[str, ...] = ()

    @property
    def short_id(self) -> str:
        """The first digits, as tables show them."""
        return self.id[:_SHORT]

    @property
    def object_name(self) -> str:
        """Where it is stored."""
        return f"{SNAPSHOT_PREFIX}/{self.id}"

    @property
    def instants(self) -> tuple[str, ...]:
        """Its times, as text."""
        return (self.started, self.ended)


def encode_snapshot(keys: Keys, snapshot: Snapshot) -> bytes:
    """Return the sealed object (zstd JSON inside)."""
    return seal_object(keys, ObjectType.SNAPSHOT, snapshot.object_name, msgspec.json.encode(snapshot))


def decode_snapshot(keys: Keys, name: str, stored: Buffer) -> Snapshot:
    """Return the snapshot stored under ``name``, or raise DamageError."""
    return open_record(keys, ObjectType.SNAPSHOT, name, stored, Snapshot)


@dataclass(frozen=True)
class SnapshotSurvey:
    """The snapshots of a repository, oldest first, as far as they open; ``damages`` names the others.

    A survey of one service knows the words of the error that there is none of it (``absence``).
    """

    snapshots: tuple[Snapshot, ...]
    damages: tuple[DamageError, ...] = ()
    absence: tuple[str, str] = ("there is no snapshot yet", "run 'holdfast backup SERVICE' first")

    def of(self, stack: str, service: str) -> SnapshotSurvey:
        """Return the survey of one service; what does not open may belong to any, and stays in it."""
        own = tuple(each for each in self.snapshots if (each.stack, each.service) == (stack, service))
        return SnapshotSurvey(own, self.damages, self._absence_of(stack, service))

    def _absence_of(self, stack: str, service: str) -> tuple[str, str]:
        """Whoever names another stack than the one that was backed up must not believe that all is lost."""
        names = sorted({f"{each.stack}/{each.service}" for each in self.snapshots})
        if not names:
            return self.absence
        hint = f"there are those of {', '.join(names)}: name stack and service as there, or back up first"
        return f"there is no snapshot of {stack}/{service}", hint

    def require_sound(self) -> None:
        """Raise the first damage, if there is any."""
        if self.damages:
            raise self.damages[0]

    def choose(self, wanted: str) -> Snapshot:
        """Return a snapshot by the first digits of its id, damaged others or not; ``latest`` needs all of them sound.

        What is damaged might be the latest: choosing an older one silently is not for us to do.
        """
        return self._latest() if wanted == LATEST else choose_snapshot(self.snapshots, wanted)

    def _latest(self) -> Snapshot:
        if self.damages:
            raise DamageError(
                self.damages[0].object_name,
                f"{self.damages[0].reason}; it may be the latest",
                hint="name the snapshot by its id ('holdfast snapshots' lists those that open)",
            )
        if not self.snapshots:
            raise UsageError(self.absence[0], hint=self.absence[1])
        return self.snapshots[-1]

    def choose_restorable(self, wanted: str) -> Snapshot:
        """Return a snapshot like ``choose``, but ``latest`` is the latest complete one (FAULTS 19)."""
        complete = tuple(each for each in self.snapshots if each.is_complete)
        if wanted == LATEST and self.snapshots and not complete:
            raise UsageError(
                "no snapshot is complete", hint="'holdfast show ID' says what is missing; restore one by its id"
            )
        return replace(self, snapshots=complete).choose(wanted) if wanted == LATEST else self.choose(wanted)


def choose_snapshot(snapshots: Sequence[Snapshot], wanted: str) -> Snapshot:
    """Return the snapshot whose id starts with ``wanted``.

    UsageError names near ids when there is none, and all that fit when there are several.
    """
    fitting = [snapshot for snapshot in snapshots if snapshot.id.startswith(wanted.lower())]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UsageError(
            f"snapshot {wanted!r} is ambiguous",
            hint="give more digits",
            details=tuple(f"{snapshot.id}  {snapshot.started}  {snapshot.service}" for snapshot in fitting),
        )
    near = _near_ids(snapshots, wanted)
    hint = f"did you mean {', '.join(near)}?" if near else "'holdfast snapshots' lists what there is"
    raise UsageError(f"there is no snapshot {wanted!r}", hint=hint)


def _near_ids(snapshots: Sequence[Snapshot], wanted: str) -> list[str]:
    import difflib

    short = [snapshot.id[: max(len(wanted), _SHORT)] for snapshot in snapshots]
    return difflib.get_close_matches(wanted.lower(), short, n=_NEAR)
