"""Back up one service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.config.choose import choose_repository, choose_service
from holdfast.operations.wiring import make_service, open_stack_repository, writer_options

if TYPE_CHECKING:
    from holdfast.config.models import Stack
    from holdfast.progress import Reporter
    from holdfast.repository.snapshot import Snapshot

_MODULES = (
    "holdfast.backup.run",
    "holdfast.repository.salvage",
    "holdfast.repository.session",
    "cryptography.hazmat.backends.openssl.backend",  # the first pack's key asks for it
)
_NEEDS = {
    "data_directory": ("holdfast.services.postgres.capture", *_MODULES),
    "replication": ("holdfast.services.postgres.replication", *_MODULES),
}


@dataclass(frozen=True)
class BackupRequest:
    """What a user asks for. ``rehashes``: read every file; ``verifies_all``: read back all that is stored."""

    service: str
    repository: str | None = None
    tags: tuple[str, ...] = ()
    rehashes: bool = False
    verifies_all: bool = False


def backup(stack: Stack, request: BackupRequest, reporter: Reporter) -> Snapshot:
    """Back up one service of the stack; return its snapshot."""
    config = choose_service(stack, request.service)
    _, target = choose_repository(stack, asked=request.repository, service=request.service)
    repository = open_stack_repository(stack, request.repository, request.service, needs=_NEEDS[config.method])
    from holdfast.backup.run import BackupOptions, run_backup

    options = BackupOptions(
        stack=stack.stack,
        service=request.service,
        tags=(*config.tags, *request.tags),
        rehashes=request.rehashes,
        writer=writer_options(target, verifies_all=request.verifies_all),
    )
    return run_backup(repository, make_service(stack, request.service), options, reporter)
