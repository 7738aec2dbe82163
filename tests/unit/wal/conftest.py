"""Fixtures of supplies: an archive in memory that can go away, and a data directory whose server might recover."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from tests.unit.wal.recovering import KEYS, OWN_ACCOUNT, SIZE, SYSTEM, Recovering

from holdfast.errors import StorageError
from holdfast.storage.memory import MemoryStorage
from holdfast.wal.archive import WalArchive
from holdfast.wal.prefetch import PrefetchLimits
from holdfast.wal.restore_command import SPOOL_NAME
from holdfast.wal.supply import SupplyOptions, WalSupply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEFAULT_LIMITS = PrefetchLimits()


class Breakable(MemoryStorage):
    """A storage that can go away, and that can be slow with one object."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.asked: list[str] = []
        self.listed = 0
        self.slow: tuple[str, threading.Event] | None = None
        self.at_next_listing: Callable[[], None] | None = None

    def get(self, name, **where):
        """Get, or fail as a storage does that cannot be reached."""
        self._require_here(name)
        self.asked.append(name.rpartition("/")[2])
        if self.slow and name.endswith(self.slow[0]):
            self.slow[1].wait(120)
        return super().get(name, **where)

    def list(self, prefix="", **where):
        """List, or fail."""
        self._require_here(prefix)
        act, self.at_next_listing = self.at_next_listing, None
        if act:
            act()
        for info in super().list(prefix, **where):
            self.listed += 1
            yield info

    def _require_here(self, what: str) -> None:
        if self.is_away:
            raise StorageError(f"get {what}: the disk is gone", hint="mount it")


@pytest.fixture
def storage() -> Breakable:
    return Breakable()


@pytest.fixture
def archive(storage: Breakable) -> WalArchive:
    return WalArchive(storage, KEYS, SYSTEM)


@pytest.fixture
def server(tmp_path: Path) -> Recovering:
    server = Recovering(tmp_path / "data it's 100%")
    server.pg_wal.mkdir(parents=True)
    return server


@pytest.fixture
def supplied(archive: WalArchive, server: Recovering) -> Callable[..., WalSupply]:
    """Make a supply: ``with supplied(history=...) as supply``."""

    def make(history=None, limits=DEFAULT_LIMITS, source=archive, own=None) -> WalSupply:
        options = SupplyOptions(OWN_ACCOUNT, limits, own=own)
        return WalSupply(source, history, server.pg_wal / SPOOL_NAME, SIZE, options)

    return make
