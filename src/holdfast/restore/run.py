"""A restore from plan to finished directory. Until its last rename, the result cannot be started."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holdfast import crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.errors import KeyRefusedError, NoSpaceError, PermissionRefusedError, StorageError, reason_of
from holdfast.restore.compare import differing_wants
from holdfast.restore.durable import sync_directory, sync_file_systems
from holdfast.restore.fetch import ContentFetcher
from holdfast.restore.lock import locked
from holdfast.restore.marker import finish_marker, new_marker, require_resumable, write_marker
from holdfast.restore.plan import RestorePlan, make_plan, require_room, require_vacant, rooms_to_fill, with_freed
from holdfast.restore.tree import (
    finish_path,
    finish_tree,
    make_tree,
    open_to_write,
    path_of_last,
    under_written_names,
)
from holdfast.wal.ownership import MARKER_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np

    from holdfast.progress import Reporter
    from holdfast.repository.reader import ChunkReader
    from holdfast.repository.repository import Repository
    from holdfast.repository.snapshot import Snapshot
    from holdfast.restore.layout import Layout
    from holdfast.restore.plan import PlannedFile


@dataclass(frozen=True)
class RestoreOptions:
    """``resumes``: go on with a broken-off restore in the target.

    ``threads`` fetch, open and write: three for each core, because they wait for the disk half of their time.
    ``freed`` are directories that are deleted before it is carried out.
    """

    resumes: bool = False
    threads: int = (os.cpu_count() or 1) * 3
    freed: tuple[Path, ...] = ()


def plan_restore(
    repository: Repository, snapshot: Snapshot, layout: Layout, options: RestoreOptions
) -> tuple[RestorePlan, ChunkReader]:
    """Return what a restore would do, having refused what it must not do; nothing is written."""
    if not repository.keys.can_read_data:
        raise KeyRefusedError(
            "a restore needs an owner's key, and this one only writes",
            hint="use the passphrase or the recovery identity of the repository",
        )
    _require_as_asked(layout, snapshot, options)
    reader = repository.reader()
    plan = make_plan(
        snapshot,
        repository.entries(reader, snapshot),
        reader,
        layout,
        lambda files: with_freed(rooms_to_fill(files, layout.roots), options.freed),
    )
    if not options.resumes:
        require_room(plan)
    return plan, reader


def run_restore(
    repository: Repository, plan: RestorePlan, reader: ChunkReader, options: RestoreOptions, reporter: Reporter
) -> None:
    """Carry out a plan. Raises what went wrong; the target then holds a restore that ``resumes`` can go on with.

    BusyError when another restore is at work in the target.
    """
    crashpoint.reach(CrashPoint.RESTORE_PLANNED)
    layout = plan.layout
    marker = new_marker(plan.snapshot, layout, repository.storage.url, repository.config.id)
    with translated(layout, lambda: _how_to_go_on(layout)), _held(plan, options):
        if options.resumes and _is_startable(plan):
            # Only the marker was missing. A server may have run here since: nothing of it may be touched.
            reporter.notice(f"all of {layout.target} was in place already")
            finish_marker(layout.target, marker)
            return
        if not plan.snapshot.is_complete:
            missing = next(iter(plan.snapshot.warnings), "it does not say what")
            reporter.warning(f"snapshot {plan.snapshot.short_id} is incomplete; missing: {missing}")
        final = plan
        plan = replace(plan, files=under_written_names(plan))
        write_marker(layout.target, marker)
        crashpoint.reach(CrashPoint.RESTORE_MARKED)

        make_tree(plan)
        crashpoint.reach(CrashPoint.RESTORE_TREE_MADE)

        wants = _what_is_missing(repository, plan, reader, options, reporter)
        reporter.phase("restoring files", total_bytes=int(wants["length"].sum()))
        ContentFetcher(plan, reader, reporter, options.threads).fetch(wants, _finish_file)
        for file in _untouched(plan, wants):
            os.close(open_to_write(file))
            _finish_file(file)
        layout.finish(path_of_last(plan))
        finish_tree(plan)
        crashpoint.reach(CrashPoint.RESTORE_CONTENT_WRITTEN)

        reporter.phase("making the files durable")
        sync_file_systems(layout.roots)
        crashpoint.reach(CrashPoint.RESTORE_SYNCED)

        _give_last_its_name(plan, final)
        crashpoint.reach(CrashPoint.RESTORE_CONTROL_RENAMED)
        finish_marker(layout.target, marker)
        crashpoint.reach(CrashPoint.RESTORE_FINISHED)


@contextmanager
def _held(plan: RestorePlan, options: RestoreOptions) -> Iterator[None]:
    """Make the directories, and hold the target; what another restore has done there since the plan is refused."""
    for root in plan.layout.roots:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(plan.layout.target):
        _require_as_asked(plan.layout, plan.snapshot, options)
        yield


def _require_as_asked(layout: Layout, snapshot: Snapshot, options: RestoreOptions) -> None:
    """Raise UsageError unless there is what goes on, or nothing."""
    if options.resumes:
        require_resumable(layout, snapshot)
    else:
        require_vacant(layout.roots)


def _how_to_go_on(layout: Layout) -> str:
    return "with --resume" if (layout.target / MARKER_NAME).exists() else "again"


def _is_startable(plan: RestorePlan) -> bool:
    """Whether the last file has its name: everything else is in place then."""
    return any(file.entry.path == plan.layout.last and file.path.exists() for file in plan.files)


def _what_is_missing(
    repository: Repository, plan: RestorePlan, reader: ChunkReader, options: RestoreOptions, reporter: Reporter
) -> np.ndarray:
    if not options.resumes:
        return plan.wants
    reporter.phase("verifying what is there", total_bytes=int(plan.wants["length"].sum()))
    return differing_wants(plan, reader, repository.keys, reporter, options.threads)


def _untouched(plan: RestorePlan, wants: np.ndarray) -> Iterator[PlannedFile]:
    """Yield the files to which nothing is written: empty ones, and those that a resumed restore finds whole."""
    written = set(wants["file"].tolist())
    return (file for number, file in enumerate(plan.files) if number not in written)


def _finish_file(file: PlannedFile) -> None:
    finish_path(file.path, file.entry)


def _give_last_its_name(plan: RestorePlan, final: RestorePlan) -> None:
    for written, named in zip(plan.files, final.files, strict=True):
        if written.path != named.path:
            written.path.rename(named.path)
            sync_directory(named.path.parent)


@contextmanager
def translated(layout: Layout, how_to_go_on: Callable[[], str]) -> Iterator[None]:
    """Turn the operating system's refusals into ours; what is on disk stays.

    ``how_to_go_on`` says how the same command is to be run once the cause is repaired.
    """
    import errno

    try:
        yield
    except OSError as error:
        where = error.filename or layout.target
        hint = f"repair the cause, then run the same command {how_to_go_on()}"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NoSpaceError(f"no space left while writing {where}", hint=hint) from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise PermissionRefusedError(f"may not write {where}: {reason_of(error)}", hint=hint) from error
        raise StorageError(f"cannot write {where}: {reason_of(error)}", hint=hint) from error
