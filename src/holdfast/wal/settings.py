"""The compiled configuration: all that shipping one service's WAL needs, in one small file that is read in no time.

``holdfast wal setup`` writes it into the spool from the stack file, the repository and the server. It holds the
writer's keys and never a private one, and is readable by the server's account only. It remembers which stack file it
was made from, so that an edited one is noticed.
"""

from __future__ import annotations

import os
from enum import StrEnum

import msgspec

from holdfast.errors import ConfigError, reason_of
from holdfast.repository.keys import Keyring, Keys
from holdfast.wal.spool import replace_file

SETTINGS_NAME = "settings"
FORMAT = 1
_MODE = 0o600
_SET_UP = "run 'holdfast wal setup' for this service"


class WhenFull(StrEnum):
    """What becomes of WAL when more of it waits than the queue may hold."""

    KEEP = "keep"
    """It stays in pg_wal, whatever happens there; each failed push says that the queue is full."""
    DROP = "drop"
    """It is given up, with a record of the gap: the server lives, and recovery across the gap is impossible."""


class SourceFile(msgspec.Struct, frozen=True):
    """The stack file as it was when the settings were made; empty path: none."""

    path: str
    modified_ns: int
    size_bytes: int


class WalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What ``holdfast wal setup`` compiled for one service; times in ns, sizes in bytes.

    ``storage_options`` are those of the storage that differ from its defaults, and may hold secrets, as ``keyring``
    does (None: the repository is not encrypted). ``level`` is zstd's, 0 for none. ``program`` is how a shell calls
    Holdfast with its stack file.
    """

    format: int = FORMAT
    stack: str
    service: str
    system_identifier: str
    segment_size: int
    data_directory: str
    repository_url: str
    repository_id: str
    storage_options: dict[str, str | int | float | bool | None]
    keyring: Keyring | None
    spool: str
    source: SourceFile
    level: int
    threads: int
    queue_limit: int
    when_full: WhenFull
    program: tuple[str, ...]

    def __repr__(self) -> str:
        return f"WalSettings({self.stack}/{self.service})"

    def keys(self) -> Keys:
        """Return the keys, in the form that the engine asks for."""
        return Keys(self.repository_id, self.keyring)


def read_settings(path: str) -> WalSettings:
    """Return the settings in a file; ConfigError when there are none, or they are of another version."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {reason_of(error)}", hint=_SET_UP) from error
    try:
        settings = msgspec.json.decode(content, type=WalSettings)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} holds no settings of this version", hint=_SET_UP) from error
    if settings.format != FORMAT:
        raise ConfigError(f"{path} is of version {settings.format}, and this is {FORMAT}", hint=_SET_UP)
    return settings


def write_settings(settings: WalSettings, owner: tuple[int, int]) -> None:
    """Put settings into their spool, whole or not at all, readable by ``owner`` (user id, group id) only."""
    path = os.path.join(settings.spool, SETTINGS_NAME)
    replace_file(path, msgspec.json.format(msgspec.json.encode(settings)) + b"\n", _MODE, owner)


def source_of(path: str) -> SourceFile:
    """Return the stack file as it is now; zeros for one that cannot be seen from here."""
    try:
        found = os.stat(path)
    except OSError:
        return SourceFile(path, 0, 0)
    return SourceFile(path, found.st_mtime_ns, found.st_size)


def is_stale(settings: WalSettings) -> bool:
    """Whether the stack file was edited since the settings were made; one that is out of sight counts as unchanged."""
    present = source_of(settings.source.path)
    return present != settings.source and present.modified_ns != 0
