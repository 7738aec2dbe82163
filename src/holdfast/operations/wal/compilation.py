"""Settings from a stack file: the slow way, taken by ``wal setup`` and after the stack file was edited."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from holdfast.config.choose import choose_repository, choose_service
from holdfast.operations.wiring import make_cache, make_storage, make_unlock, storage_options
from holdfast.repository.opening import open_repository
from holdfast.storage.options import StorageOptions
from holdfast.wal.archive import DEFAULT_LEVEL
from holdfast.wal.archive_command import SCRIPT_NAME, script
from holdfast.wal.settings import SETTINGS_NAME, WalSettings, WhenFull, source_of, write_settings
from holdfast.wal.spool import make_spool, replace_file

if TYPE_CHECKING:
    from holdfast.config.models import Stack

SPOOL_ROOT = Path("/var/spool/holdfast")
_THREADS_LIMIT = 4
_LEVELS = {"auto": DEFAULT_LEVEL, "none": 0}


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What the server said of itself when its archiving was set up; the segment size is in bytes."""

    system_identifier: str
    segment_size: int
    data_directory: str


def spool_directory(stack: Stack, service: str) -> Path:
    """Return where a service's spool is."""
    return choose_service(stack, service).wal.spool or SPOOL_ROOT / stack.stack / service


def settings_path(stack: Stack, service: str) -> Path:
    """Return where a service's compiled settings are."""
    return spool_directory(stack, service) / SETTINGS_NAME


def install(settings: WalSettings, owner: tuple[int, int]) -> None:
    """Put settings and script into the spool, for one account (user id, group id)."""
    make_spool(settings.spool, owner)
    write_settings(settings, owner)
    path = os.path.join(settings.spool, SCRIPT_NAME)
    replace_file(path, script(settings, settings.program).encode(), 0o755, owner)


def compile_settings(stack_file: Path, stack: Stack, service: str, facts: ClusterFacts) -> WalSettings:
    """Return the settings of a service; opens its repository, and keeps of its keys what a writer may hold."""
    source = source_of(str(stack_file.absolute()))
    _, repository_config = choose_repository(stack, service=service)
    repository = open_repository(make_storage(repository_config), make_unlock(repository_config), make_cache)
    keyring = repository.keys.keyring
    wal = choose_service(stack, service).wal
    return WalSettings(
        stack=stack.stack,
        service=service,
        system_identifier=facts.system_identifier,
        segment_size=facts.segment_size,
        data_directory=facts.data_directory,
        repository_url=repository_config.url,
        repository_id=repository.config.id,
        storage_options=_given(storage_options(repository_config)),
        keyring=keyring.for_writer() if keyring else None,
        spool=str(spool_directory(stack, service)),
        source=source,
        level=zstd_level(repository_config.compression),
        threads=repository_config.threads or min(os.cpu_count() or 1, _THREADS_LIMIT),
        queue_limit=wal.queue_limit,
        when_full=WhenFull(wal.when_full),
        program=program(stack_file),
    )


def _given(options: StorageOptions) -> dict[str, str | int | float | bool | None]:
    """Return the options that are not the defaults, in JSON's own types."""
    defaults = asdict(StorageOptions())
    given = {name: value for name, value in asdict(options).items() if value != defaults[name]}
    return {name: value.value if isinstance(value, Enum) else value for name, value in given.items()}


def program(stack_file: Path) -> tuple[str, ...]:
    """Return how a shell starts Holdfast: the console script of this very installation, else its Python."""
    script = os.path.join(os.path.dirname(sys.executable), "holdfast")
    words = (script,) if os.access(script, os.X_OK) else (sys.executable, "-I", "-m", "holdfast")
    return (*words, "-c", str(stack_file.absolute()))


def zstd_level(compression: str) -> int:
    """Return the level that WAL is compressed at: 0 for not at all."""
    return _LEVELS[compression] if compression in _LEVELS else int(compression.removeprefix("zstd-"))
