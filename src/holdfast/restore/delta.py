"""A delta restore: a stopped copy of a cluster becomes the snapshot, and only what differs is written.

The order is the safety argument. First the copy is compared, and nothing is changed. Then its control file is set
aside: from here on no server starts on a half state, and the next run knows by it what it finds. Then what is too much
goes, what differs is written, all is made durable, and the snapshot's control file gets its name last. Killed anywhere,
the same command finishes: it compares again and believes nothing.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from holdfast import crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.errors import (
    KeyRefusedError,
    NoSpaceError,
    PermissionRefusedError,
    StorageError,
    reason_of,
)
from holdfast.restore.compare import differing_wants
from holdfast.restore.delta_patch import Patches, gaps_of
from holdfast.restore.delta_tree import clear_the_way, files_that_stay, remove, surplus
from holdfast.restore.durable import sync_directory, sync_file_systems
from holdfast.restore.fetch import ContentFetcher
from holdfast.restore.marker import finish_marker, new_marker, write_marker
from holdfast.restore.plan import RestorePlan, make_plan, nearest_existing, require_apart, require_vacant, rooms_at
from holdfast.restore.run import translated
from holdfast.restore.tree import finish_tree, make_tree, path_of_last, under_written_names

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from holdfast.progress import Reporter
    from holdfast.repository.reader import ChunkReader
    from holdfast.repository.repository import Repository
    from holdfast.repository.snapshot import Snapshot
    from holdfast.restore.layout import Layout
    from holdfast.restore.plan import PlannedFile, Room

_ASIDE_SUFFIX = ".holdfast-before"


@dataclass(frozen=True)
class DeltaOptions:
    """``may_be_links``: paths of directories that may be links elsewhere in the copy. ``threads`` read, fetch, write.

    ``require_stopped`` raises when somebody uses the copy after all; it is asked again before the first change.
    """

    may_be_links: Collection[bytes]
    require_stopped: Callable[[], None]
    threads: int = (os.cpu_count() or 1) * 2


@dataclass(frozen=True)
class DeltaPlan:
    """What a copy will become: the plan of the whole snapshot, files under the names they are written to."""

    repository: Repository
    whole: RestorePlan
    reader: ChunkReader


@dataclass(frozen=True)
class Difference:
    """What a comparison found: the plan's wants that are not on disk, the files they belong to, and what is too much.

    ``differing_bytes`` is at most what will be rewritten: where a chunk differs, only its blocks that do are.
    """

    wants: np.ndarray
    files: int
    differing_bytes: int
    fetched_bytes: int
    surplus: tuple[Path, ...]


@dataclass(frozen=True)
class DeltaResult:
    """What a delta restore wrote and removed."""

    rewritten_bytes: int
    removed: int


def set_aside_path(layout: Layout) -> Path:
    """Return where the copy's control file is kept while it must not be found under its name."""
    last = layout.target / os.fsdecode(layout.last)
    return last.with_name(last.name + _ASIDE_SUFFIX)


def plan_delta(repository: Repository, snapshot: Snapshot, layout: Layout, new: Collection[Path]) -> DeltaPlan:
    """Return the plan of the whole snapshot, over a copy that is there already. Nothing is written, or compared yet.

    ``new`` are the directories that the copy does not have (a tablespace made since): they must be new or empty.
    """
    if not repository.keys.can_read_data:
        raise KeyRefusedError(
            "a restore needs an owner's key, and this one only writes",
            hint="use the passphrase or the recovery identity of the repository",
        )
    require_apart(list(layout.roots))
    require_vacant(new)
    reader = repository.reader()
    entries = repository.entries(reader, snapshot)
    with _readable(layout):
        plan = make_plan(snapshot, entries, reader, layout, lambda files: _rooms_to_grow(files, layout.roots))
    return DeltaPlan(repository, replace(plan, files=under_written_names(plan)), reader)


def compare(delta: DeltaPlan, options: DeltaOptions, reporter: Reporter) -> Difference:
    """Compare the copy with the snapshot; nothing is changed."""
    plan, reader = delta.whole, delta.reader
    reporter.phase("comparing with the snapshot", total_bytes=int(plan.wants["length"].sum()))
    kept = (set_aside_path(plan.layout), plan.layout.target / os.fsdecode(plan.layout.last))
    with _readable(plan.layout):
        wants = _differing_wants(delta, options, reporter)
        too_much = tuple(surplus(plan, kept, options.may_be_links))
    return Difference(
        wants=wants,
        files=int(
            np.count_nonzero(np.bincount(wants["file"]))
        ),  # np.unique would load numpy.ma, a hundredth of a second
        differing_bytes=int(wants["length"].sum()),
        fetched_bytes=sum(span.length for span in reader.spans(wants["row"])),
        surplus=too_much,
    )


def _differing_wants(delta: DeltaPlan, options: DeltaOptions, reporter: Reporter) -> np.ndarray:
    """Return the plan's wants that are not on disk, or not where they will stay."""
    plan = delta.whole
    stays = files_that_stay(plan, options.may_be_links)[plan.wants["file"]]
    staying = replace(plan, wants=plan.wants[stays])
    differing = differing_wants(staying, delta.reader, delta.repository.keys, reporter, options.threads)
    wants = np.concatenate((differing, plan.wants[~stays]))
    return wants[np.argsort(wants["row"], kind="stable")]


def run_delta(delta: DeltaPlan, difference: Difference, options: DeltaOptions, reporter: Reporter) -> DeltaResult:
    """Make the copy what the snapshot is. Raises what went wrong; the same run again goes on."""
    plan, layout = delta.whole, delta.whole.layout
    repository = delta.repository
    marker = new_marker(plan.snapshot, layout, repository.storage.url, repository.config.id)
    marker = msgspec.structs.replace(marker, is_delta=True)
    with translated(layout, lambda: "again"):
        _set_control_aside(layout, options)
        write_marker(layout.target, marker)
        crashpoint.reach(CrashPoint.DELTA_CONTROL_ASIDE)

        for path in difference.surplus:
            remove(path)
        clear_the_way(plan, options.may_be_links)
        make_tree(plan)
        crashpoint.reach(CrashPoint.DELTA_TREE_CLEARED)

        patches = Patches(plan)
        reporter.phase("rewriting what differs", total_bytes=difference.differing_bytes)
        ContentFetcher(plan, delta.reader, reporter, options.threads, patches).fetch(difference.wants, _nothing)
        gaps = gaps_of(plan)
        for number in range(len(plan.files)):
            patches.settle(number, gaps.get(number, []))
        layout.finish(path_of_last(plan))
        finish_tree(plan)
        crashpoint.reach(CrashPoint.DELTA_CONTENT_WRITTEN)

        reporter.phase("making the files durable")
        sync_file_systems(layout.roots)
        _give_control_its_name(layout, plan)
        crashpoint.reach(CrashPoint.DELTA_CONTROL_NAMED)
        finish_marker(layout.target, marker)
    return DeltaResult(patches.written_bytes, len(difference.surplus))


def require_room(plan: RestorePlan) -> None:
    """Raise NoSpaceError when a file system cannot take what the copy lacks."""
    for room in plan.rooms:
        if room.needed_bytes > room.free_bytes:
            raise NoSpaceError(
                f"{room.path} has {room.free_bytes >> 20} MiB free; the copy grows by {room.needed_bytes >> 20} MiB",
                hint="free some space, or restore to another file system",
            )


def _set_control_aside(layout: Layout, options: DeltaOptions) -> None:
    control, aside = layout.target / os.fsdecode(layout.last), set_aside_path(layout)
    options.require_stopped()
    if control.exists():
        control.rename(aside)
        sync_directory(aside.parent)
    try:
        options.require_stopped()  # one that was started a moment ago would have read the control file just before
    except BaseException:
        if aside.exists() and not control.exists():
            aside.rename(control)
        raise


def _give_control_its_name(layout: Layout, plan: RestorePlan) -> None:
    final = layout.target / os.fsdecode(layout.last)
    path_of_last(plan).rename(final)
    set_aside_path(layout).unlink(missing_ok=True)
    sync_directory(final.parent)


@contextmanager
def _readable(layout: Layout) -> Iterator[None]:
    """Turn the operating system's refusals to read the copy into ours."""
    try:
        yield
    except OSError as error:
        where = error.filename or layout.target
        if isinstance(error, PermissionError):
            hint = "run it as root, or as who may read the copy"
            raise PermissionRefusedError(f"may not read {where}: {reason_of(error)}", hint=hint) from error
        hint = "repair the file system, or restore to a new directory"
        raise StorageError(f"cannot read {where}: {reason_of(error)}", hint=hint) from error


def _nothing(file: PlannedFile) -> None:
    """Leave a file as it is: all files are settled together at the end."""


def _rooms_to_grow(files: Iterable[PlannedFile], roots: Iterable[Path]) -> tuple[Room, ...]:
    """Return the file systems of the copy, each with what it lacks there: files are made longer, or are new.

    A file that has other names is made anew beside them.
    """
    grown: dict[int, int] = {}
    others: list[Path] = []
    for file in files:
        try:
            status = os.lstat(file.path)
            device, present = status.st_dev, status.st_blocks * 512 if status.st_nlink == 1 else 0
        except OSError:
            device, present = nearest_existing(file.path.parent).stat().st_dev, 0
        if device not in grown:  # a root's, or that of something mounted or linked in the copy
            others.append(file.path.parent)
        grown[device] = grown.get(device, 0) + max(0, file.content_bytes - present)
    return rooms_at((*roots, *others), grown)
