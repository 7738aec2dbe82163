"""The snapshot object: the only commit of a backup. What is not named by one does not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.errors import DamageError, UsageError
from holdfast.model import ObjectId
from holdfast.repository.sealed import ObjectType, open_object, seal_object

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.repository.keys import Keys
    from holdfast.storage.base import Buffer

SNAPSHOT_PREFIX = "snapshots"
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
    ``warnings`` says what is missing or corrupt.
    """

    id: ObjectId
    stack: str
    service: str
    kind: str
    host: str
    started: str
    ended: str
    tool_version: str
    manifest: bytes
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


def encode_snapshot(keys: Keys, snapshot: Snapshot) -> bytes:
    """Return the sealed object (zstd JSON inside)."""
    return seal_object(keys, ObjectType.SNAPSHOT, snapshot.object_name, msgspec.json.encode(snapshot))


def decode_snapshot(keys: Keys, name: str, stored: Buffer) -> Snapshot:
    """Return the snapshot stored under ``name``, or raise DamageError."""
    content = open_object(keys, ObjectType.SNAPSHOT, name, stored)
    try:
        snapshot = msgspec.json.decode(content, type=Snapshot)
    except msgspec.MsgspecError as error:
        raise DamageError(name, f"its content cannot be read ({error})") from error
    if snapshot.object_name != name:
        raise DamageError(name, f"it says that it is {snapshot.object_name}")
    return snapshot


def choose_snapshot(snapshots: Sequence[Snapshot], wanted: str) -> Snapshot:
    """Return the snapshot whose id starts with ``wanted``; ``latest`` is the last of the sequence.

    UsageError names near ids when there is none, and all that fit when there are several.
    """
    if wanted == "latest":
        if not snapshots:
            raise UsageError("there is no snapshot yet", hint="run 'holdfast backup SERVICE' first")
        return snapshots[-1]
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
