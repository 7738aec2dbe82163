"""Whether a repository can be reached, opened, read and written, with what is at hand here."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from holdfast import clock
from holdfast.errors import HoldfastError, PermissionRefusedError
from holdfast.model import new_object_id
from holdfast.operations.doctor.finding import Finding, State, failed, fine, weak
from holdfast.operations.wiring import make_cache, make_storage, make_unlock
from holdfast.repository.opening import open_repository

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from holdfast.config.repositories import RepositoryConfig
    from holdfast.repository.repository import Repository
    from holdfast.repository.snapshot import SnapshotSurvey
    from holdfast.storage.base import Storage

PROBE_PREFIX = "probes"
"""Objects below it mean nothing to a repository; each is deleted as soon as it was stored."""

_RETRY_DEADLINE = timedelta(seconds=10)
_SKEW_WARNED = timedelta(seconds=10)
# Sessions count as stale after ten minutes: a clock that far off makes one writer take another for dead.
_SKEW_REFUSED = timedelta(minutes=5)
_FREE_SHARE_WANTED = 0.1


def examine_repository(subject: str, config: RepositoryConfig) -> Generator[Finding, None, SnapshotSurvey | None]:
    """Yield what was found, and return the snapshots, None where they cannot all be read.

    Requests that fail are repeated for some seconds only.
    """
    try:
        unlock = make_unlock(config)
        storage = make_storage(replace(config, retry_deadline=_RETRY_DEADLINE))
        repository = open_repository(storage, unlock, make_cache)
        survey = repository.survey_snapshots()
        survey.require_sound()
    except HoldfastError as error:
        yield failed(subject, error)
        return None
    yield fine(subject, f"{storage.url} can be reached and opened (snapshots: {len(survey.snapshots)})")
    yield _key(subject, repository)
    yield from _write(subject, storage)
    if (path := _local_path(config.url)) is not None:
        yield _free_space(subject, path)
    return survey


def _key(subject: str, repository: Repository) -> Finding:
    if not repository.keys.is_encrypted:
        return weak(subject, "it is NOT ENCRYPTED", "make an encrypted one with 'holdfast init', and back up there")
    if not repository.keys.can_read_data:
        return fine(subject, "the key at hand writes backups, and cannot restore them (a writer credential)")
    if sum(slot.opens_data for slot in repository.key_slots()) < 2:
        return weak(
            subject, "only one key opens it: when that is lost, so are the backups", "holdfast key add --recovery"
        )
    return fine(subject, "the key at hand writes and restores backups")


def _write(subject: str, storage: Storage) -> Iterator[Finding]:
    """Store an object, compare the storage's clock with ours, and delete it."""
    name = f"{PROBE_PREFIX}/{new_object_id()}"
    try:
        storage.put(name, b"holdfast doctor")
        began = clock.now()
        skew = storage.stat(name).modified - began
    except PermissionRefusedError as error:
        yield Finding(
            subject, State.FAILED, f"it is read-only from here: {error.message}", "allow writing, for backups from here"
        )
        return
    except HoldfastError as error:
        yield failed(subject, error)
        return
    yield fine(subject, "it can be written")
    yield _skew(subject, skew)
    yield from _delete(subject, storage, name)


def _delete(subject: str, storage: Storage, name: str) -> Iterator[Finding]:
    try:
        storage.delete(name)
    except HoldfastError as error:
        yield weak(
            subject,
            f"nothing can be deleted from here ({error.message}): {name} stays",
            "nothing, if that is meant (a locked or append-only storage)",
        )


def _skew(subject: str, skew: timedelta) -> Finding:
    seconds = abs(skew.total_seconds())
    words = f"the storage's clock and this machine's differ by {seconds:.0f} s"
    if abs(skew) < _SKEW_WARNED:
        return fine(subject, words)
    state = State.WARNING if abs(skew) < _SKEW_REFUSED else State.FAILED
    return Finding(subject, state, words, "set both clocks (timedatectl set-ntp true)")


def _local_path(url: str) -> Path | None:
    """Return the directory of a local repository, None for any other."""
    path = url.removeprefix("file://")
    return Path(path) if path.startswith("/") and os.path.isdir(path) else None


def _free_space(subject: str, path: Path) -> Finding:
    usage = shutil.disk_usage(path)
    share = usage.free / usage.total
    words = f"{usage.free / 1024**3:.1f} GiB ({share:.0%}) of its file system is free"
    if share >= _FREE_SHARE_WANTED:
        return fine(subject, words)
    return weak(subject, words, "make room, or move the repository to a larger file system")
