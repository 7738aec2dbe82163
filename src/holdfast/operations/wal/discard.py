"""Delete bytes that were refused and kept apart: when somebody has found out whose they are, they are of no more use.

Nothing else of an archive can be deleted so: its segments are what recovery needs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.config.choose import choose_service
from holdfast.errors import NotFoundError, UsageError, VerificationError
from holdfast.operations.new_file import new_file
from holdfast.operations.wal.fetch import cluster_of
from holdfast.operations.wiring import open_stack_repository
from holdfast.restore.durable import sync_directory
from holdfast.wal.archive import WalArchive
from holdfast.wal.names import WalFileKind, taken_name

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.config.models import Stack
    from holdfast.repository.walfile import Stamp


@dataclass(frozen=True, slots=True)
class KeptApart:
    """Bytes under ``name`` that were pushed as ``taken``, which had other bytes then; what is known of both."""

    archive: WalArchive
    name: str
    taken: str
    refused: Stamp
    first: Stamp


def find_kept_apart(stack: Stack, service: str, name: str, asked: str | None) -> KeptApart:
    """Find bytes by the name that ``wal status`` gives; UsageError when there are none."""
    choose_service(stack, service)
    try:
        taken = taken_name(name)
    except VerificationError as error:
        raise UsageError(
            error.message, hint="only FILE.conflict-... can be discarded: see 'holdfast wal status'"
        ) from None
    repository = open_stack_repository(stack, asked, service)
    cluster = cluster_of(repository, stack, service)
    archive = WalArchive(repository.storage, repository.keys, cluster.system_identifier)
    try:
        return KeptApart(archive, name, taken, archive.stamp(name), archive.stamp(taken))
    except NotFoundError:
        names = [file.name for file in archive.list() if file.kind is WalFileKind.CONFLICT]
        there_are = f"there are: {', '.join(names)}" if names else "nothing is kept apart"
        raise UsageError(f"the archive of {service} has no {name}", hint=there_are) from None


def discard(kept: KeptApart, output: Path | None) -> None:
    """Delete the bytes, having copied them durably to ``output``, a new file, where that is given.

    UsageError where it is there already, KeyRefusedError, StorageError: then nothing is deleted.
    """
    if output is not None:
        with new_file(output) as file:
            file.writelines(kept.archive.open(kept.name, kept.refused.length_bytes).frames())
            file.flush()
            os.fsync(file.fileno())
        sync_directory(output.parent)
    kept.archive.discard(kept.name)
