"""The plan of a restore: what goes where, what is fetched, whether it fits. Dry-run stops after it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from holdfast.errors import DamageError, NoSpaceError, PermissionRefusedError, UsageError
from holdfast.repository.file_extents import load_files
from holdfast.repository.manifest import Entry, EntryKind
from holdfast.repository.names import shown
from holdfast.restore.contained import require_contained
from holdfast.restore.marker import UNFINISHED_MARKER_NAME
from holdfast.wal.ownership import MARKER_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from holdfast.repository.reader import ChunkReader
    from holdfast.repository.snapshot import Snapshot
    from holdfast.restore.layout import Layout

WANT_DTYPE = np.dtype(
    [("row", "<i8"), ("file", "<u4"), ("file_offset", "<u8"), ("length", "<u4"), ("chunk_offset", "<u4")]
)
_OTHER_TARGET = "restore to a new or empty directory; --resume goes on with a broken-off one"
_OTHER_PLACE = "give the tablespace that belongs there another directory: --tablespace NAME=DIR"
_MARKER_PATH = MARKER_NAME.encode()
"""A snapshot of a cluster that was itself restored holds the marker of that restore: it is not this one's."""


class PlannedFile(NamedTuple):
    """One file to write: its entry, where, and how many bytes are fetched for it."""

    entry: Entry
    path: Path
    content_bytes: int


class Room(NamedTuple):
    """A file system that the restore writes to: bytes needed and free."""

    path: Path
    needed_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class RestorePlan:
    """Everything that a restore will do. ``wants`` (WANT_DTYPE) is sorted by index row."""

    snapshot: Snapshot
    layout: Layout
    directories: tuple[tuple[Entry, Path], ...]
    links: tuple[tuple[Entry, Path], ...]
    files: tuple[PlannedFile, ...]
    wants: np.ndarray = field(repr=False)
    size_bytes: int
    fetched_bytes: int
    packs: int
    rooms: tuple[Room, ...]


def make_plan(
    snapshot: Snapshot,
    entries: Iterable[Entry],
    reader: ChunkReader,
    layout: Layout,
    rooms: Callable[[Sequence[PlannedFile]], tuple[Room, ...]],
) -> RestorePlan:
    """Return the plan, having proven that every path is inside and every chunk is indexed; else DamageError.

    ``rooms`` says what the files take of which file systems.
    """
    placed = [
        (entry, path)
        for entry in entries
        if entry.path != _MARKER_PATH and (path := layout.destination(entry)) is not None
    ]
    require_contained(placed, layout.roots)
    regular = [(entry, path) for entry, path in placed if entry.kind is EntryKind.FILE]
    if not any(entry.path == layout.last for entry, _ in regular):
        raise DamageError(
            snapshot.object_name,
            f"it holds no {shown(layout.last)}, without which nothing starts",
            hint="restore an earlier snapshot; look at the host that made this one",
        )
    filled = [entry if layout.is_filled(entry) else _hollow(entry) for entry, _ in regular]
    wants = _wants(filled, reader)
    content = np.bincount(wants["file"], weights=wants["length"], minlength=len(regular)).astype(np.int64)
    files = tuple(
        PlannedFile(entry, path, int(count)) for (entry, path), count in zip(regular, content.tolist(), strict=True)
    )
    spans = reader.spans(wants["row"])
    return RestorePlan(
        snapshot=snapshot,
        layout=layout,
        directories=tuple((entry, path) for entry, path in placed if entry.kind is EntryKind.DIRECTORY),
        links=tuple((e, p) for e, p in placed if e.kind in {EntryKind.SYMLINK, EntryKind.HARD_LINK}),
        files=files,
        wants=wants,
        size_bytes=sum(file.entry.size for file in files),
        fetched_bytes=sum(span.length for span in spans),
        packs=len({span.pack.ref.id for span in spans}),
        rooms=rooms(files),
    )


def require_room(plan: RestorePlan) -> None:
    """Raise NoSpaceError when a file system of the plan is too small."""
    for room in plan.rooms:
        if room.needed_bytes > room.free_bytes:
            raise NoSpaceError(
                f"{room.path} has {room.free_bytes >> 20} MiB free; the restore needs {room.needed_bytes >> 20} MiB",
                hint="free some space, or restore to another file system",
            )


def rooms_to_fill(files: Iterable[PlannedFile], roots: Iterable[Path]) -> tuple[Room, ...]:
    """Return the file systems that new files go to, each with what it must take."""
    devices = {root: os.stat(nearest_existing(root)).st_dev for root in roots}
    by_depth = sorted(devices, key=lambda root: -len(root.parts))
    needed: dict[int, int] = {}
    for directory, content_bytes in _by_directory(files).items():
        device = devices[next(root for root in by_depth if directory.is_relative_to(root))]
        needed[device] = needed.get(device, 0) + content_bytes
    return rooms_at(devices, needed)


def rooms_at(roots: Iterable[Path], needed: Mapping[int, int]) -> tuple[Room, ...]:
    """Return the file systems of some directories, of which ``needed`` (by device) says that they must take bytes."""
    places: dict[int, Path] = {}
    for place in map(nearest_existing, roots):
        places.setdefault(os.stat(place).st_dev, place)
    return tuple(
        Room(place, needed[device], shutil.disk_usage(place).free)
        for device, place in places.items()
        if device in needed
    )


def with_freed(rooms: Iterable[Room], freed: Iterable[Path]) -> tuple[Room, ...]:
    """Return the rooms as they are once some directories are deleted."""
    occupied: dict[int, int] = {}
    for path in (each for top in freed for each in (top, *top.rglob("*"))):
        try:
            status = os.lstat(path)
        except OSError:  # gone already
            continue
        occupied[status.st_dev] = occupied.get(status.st_dev, 0) + status.st_blocks * 512
    return tuple(
        room._replace(free_bytes=room.free_bytes + occupied.get(os.stat(room.path).st_dev, 0)) for room in rooms
    )


def _require_no_file(root: Path) -> None:
    """Raise UsageError where the directory, or one that it is to be made in, is something else."""
    there = next(path for path in (root, *root.parents) if path.exists())
    if not there.is_dir():
        raise UsageError(f"{there} is not a directory", hint="restore to a new or empty directory")


def require_vacant(roots: Iterable[Path]) -> None:
    """Raise UsageError when a directory to fill holds anything, or is part of a cluster already (FAULTS 29)."""
    roots = list(roots)
    require_apart(roots)
    for number, root in enumerate(roots):
        _require_reachable(root)
        _require_no_file(root)
        if (root / "postmaster.pid").exists():
            raise UsageError(f"{root} is in use by a running server", hint="restore to a new directory")
        if root.exists() and any(p.name != UNFINISHED_MARKER_NAME for p in root.iterdir()):
            raise UsageError(
                f"{root} is not empty",
                hint=_OTHER_PLACE if number else _OTHER_TARGET,
            )
        for above in root.resolve().parents:
            if (above / "PG_VERSION").exists() and (above / "global").is_dir():
                raise UsageError(f"{root} lies inside the data directory {above}", hint="restore to a place outside it")
            if (above / "config").is_file() and (above / "packs").is_dir():
                raise UsageError(f"{root} lies inside the repository {above}", hint="restore to a place outside it")


def require_apart(roots: list[Path]) -> None:
    """Raise UsageError when one directory would be filled twice."""
    for number, root in enumerate(roots):
        for other in roots[:number]:
            if root.is_relative_to(other) or other.is_relative_to(root):
                raise UsageError(
                    f"{root} and {other} lie in one another, and both are to be filled",
                    hint="give the target and each tablespace (--tablespace NAME=DIR) a directory of its own",
                )


def _require_reachable(root: Path) -> None:
    """Raise PermissionRefusedError when it cannot even be seen whether there is something."""
    try:
        if root.is_dir():
            os.listdir(root)
    except PermissionError as error:
        raise PermissionRefusedError(
            f"no permission to look into {error.filename}", hint="restore as root, or to a directory of your own"
        ) from error


def _hollow(entry: Entry) -> Entry:
    """Return an entry without content: of its length, and all of it a hole."""
    return msgspec.structs.replace(entry, extents=b"", extent_chunks=())


def _wants(entries: list[Entry], reader: ChunkReader) -> np.ndarray:
    """Return which part of which chunk goes where, sorted by index row."""
    listed = [chunk for entry in entries for chunk in entry.extent_chunks]
    lists = dict(zip(listed, reader.read_many(listed), strict=True))
    owner, extents = load_files(entries, lists.__getitem__)
    wants = np.zeros(len(owner), dtype=WANT_DTYPE)
    wants["file"], wants["row"] = owner, reader.rows(extents.chunks)[extents.chunk]
    wants["file_offset"], wants["length"] = extents.file_offset, extents.length
    wants["chunk_offset"] = extents.chunk_offset
    reach = wants["chunk_offset"].astype(np.int64) + wants["length"]
    beyond = np.flatnonzero(reach > reader.index.plain[wants["row"]])
    if len(beyond):  # what lies behind a chunk in memory is of another one
        name = shown(entries[int(wants["file"][beyond[0]])].path)
        raise DamageError(f"file {name}", "its extents pass the end of a chunk")
    return wants[np.argsort(wants["row"], kind="stable")]


def _by_directory(files: Iterable[PlannedFile]) -> dict[Path, int]:
    """Return the bytes of content that go into each directory: there are few of them, and may be a million files."""
    found: dict[str, int] = {}
    for file in files:
        directory = os.path.dirname(file.path)
        found[directory] = found.get(directory, 0) + file.content_bytes
    return {Path(directory): content_bytes for directory, content_bytes in found.items()}


def nearest_existing(path: Path) -> Path:
    """Return the path itself or the nearest directory above it that exists."""
    return next(above for above in (path, *path.parents) if above.exists())
