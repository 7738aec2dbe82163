"""Back up one service."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.config.choose import choose_repository, choose_service
from holdfast.operations.wiring import make_service, open_stack_repository, writer_options

if TYPE_CHECKING:
    from holdfast.config.models import Stack
    from holdfast.progress import Reporter
    from holdfast.repository.snapshot import Snapshot


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
    with ThreadPoolExecutor(1) as pool:  # the passphrase takes half a second of another core: connect meanwhile
        opening = pool.submit(open_stack_repository, stack, request.repository, request.service)
        from holdfast.backup.run import BackupOptions, run_backup

        service = make_service(stack, request.service)
        repository = opening.result()
    options = BackupOptions(
        stack=stack.stack,
        service=request.service,
        tags=(*config.tags, *request.tags),
        rehashes=request.rehashes,
        writer=writer_options(target, verifies_all=request.verifies_all),
    )
    return run_backup(repository, service, options, reporter)
