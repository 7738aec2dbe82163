"""The file in a restored directory that says what was restored from where, and whether it is whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from holdfast import __version__, clock
from holdfast.errors import HoldfastError, UsageError
from holdfast.restore.durable import sync_directory
from holdfast.wal.ownership import MARKER_NAME

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.repository.snapshot import Snapshot
    from holdfast.restore.layout import Layout

UNFINISHED_MARKER_NAME = MARKER_NAME + ".new"
"""All that a restore leaves when it is killed before its marker stands: a directory with nothing else is vacant."""


class RestoreMarker(msgspec.Struct, frozen=True, kw_only=True):
    """Which snapshot was restored from where into which directories.

    Times are ISO 8601 in UTC; ``finished`` is empty until it is. ``is_delta``: it was restored over an earlier copy.
    ``recovered`` says what a recovery to a target was told and reached; empty when there was none.
    """

    snapshot: str
    stack: str
    service: str
    repository: str
    repository_id: str
    tool_version: str
    started: str
    directories: tuple[str, ...]
    finished: str = ""
    adopted: str = ""
    facts: dict[str, object] = {}
    recovered: dict[str, object] = {}
    is_delta: bool = False


def new_marker(snapshot: Snapshot, layout: Layout, repository_url: str, repository_id: str) -> RestoreMarker:
    """Return the marker of a restore that begins now."""
    return RestoreMarker(
        snapshot=snapshot.id,
        stack=snapshot.stack,
        service=snapshot.service,
        repository=repository_url,
        repository_id=repository_id,
        tool_version=__version__,
        started=clock.now().isoformat(timespec="seconds"),
        directories=_directories(layout),
        facts=snapshot.facts,
    )


def write_marker(target: Path, marker: RestoreMarker) -> None:
    """Put the marker into the directory, durably, in place of an earlier one; it belongs to whom the directory does."""
    path, temporary = target / MARKER_NAME, target / UNFINISHED_MARKER_NAME
    owner = target.stat()
    with temporary.open("wb") as file:
        os.fchmod(file.fileno(), owner.st_mode & 0o640)
        if os.geteuid() == 0:
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(msgspec.json.format(msgspec.json.encode(marker)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(target)


def finish_marker(target: Path, marker: RestoreMarker) -> None:
    """Say that the restore is whole."""
    write_marker(target, msgspec.structs.replace(marker, finished=clock.now().isoformat(timespec="seconds")))


def read_marker(target: Path) -> RestoreMarker | None:
    """Return the marker of a directory, None when it has none; HoldfastError when it cannot be read."""
    path = target / MARKER_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=RestoreMarker)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise HoldfastError(f"{path} cannot be read ({error})", hint="run as the owner of the directory") from error


def mark_recovered(target: Path, recovered: dict[str, object]) -> None:
    """Say what a recovery of the restored cluster reached; nothing where there is no marker."""
    marker = read_marker(target)
    if marker is not None:
        write_marker(target, msgspec.structs.replace(marker, recovered=recovered))


def adopt_marker(target: Path) -> None:
    """Say that the restored cluster takes the place of its origin. HoldfastError when it has no marker."""
    marker = read_marker(target)
    if marker is None:
        raise HoldfastError(f"{target} has no {MARKER_NAME}: it was not restored by holdfast")
    write_marker(target, msgspec.structs.replace(marker, adopted=clock.now().isoformat(timespec="seconds")))


def marked_facts(target: Path) -> dict[str, object]:
    """Return the facts of the snapshot that was, or was being, restored to a directory; none when nobody knows."""
    try:
        return msgspec.json.decode((target / MARKER_NAME).read_bytes(), type=RestoreMarker).facts
    except (OSError, msgspec.MsgspecError):
        return {}


def require_resumable(layout: Layout, snapshot: Snapshot) -> None:
    """Raise UsageError unless the target holds a broken-off restore of this very snapshot to these very directories."""
    target = layout.target
    try:
        marker = msgspec.json.decode((target / MARKER_NAME).read_bytes(), type=RestoreMarker)
    except (OSError, msgspec.MsgspecError):
        raise UsageError(
            f"there is no broken-off restore in {target}", hint="without --resume, restore to a new or empty directory"
        ) from None
    if marker.finished:
        raise UsageError(f"the restore in {target} is whole already", hint=_of_whole(marker))
    if marker.is_delta:
        raise UsageError(f"{target} holds a broken-off delta restore", hint="run it again with --delta: it goes on")
    if marker.snapshot != snapshot.id:
        raise UsageError(
            f"{target} holds a broken-off restore of another snapshot ({marker.snapshot[:8]})",
            hint=f"resume it with --snapshot {marker.snapshot[:8]}, or restore to a new directory",
        )
    if marker.directories != _directories(layout):
        raise UsageError(
            f"the broken-off restore in {target} went to other directories: {', '.join(marker.directories)}",
            hint="resume it with the same --tablespace options",
        )


def _of_whole(marker: RestoreMarker) -> str:
    """Return what is left to do where all files are there; whether they were to be recovered, the marker cannot say."""
    if marker.recovered:
        return "nothing is left to do"
    return (
        "its files need nothing more; if it was to be recovered (--to), that was not finished: delete the directory, "
        "or name another one, and run it again without --resume"
    )


def _directories(layout: Layout) -> tuple[str, ...]:
    return tuple(os.fsencode(root).decode("utf-8", "backslashreplace") for root in layout.roots)
