"""What of a data directory is captured: all but PostgreSQL's own exclusions; links to tablespaces are followed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from holdfast.postgres.datadir import SERVERS_OWN_DIRECTORIES, TABLESPACES_DIRECTORY, left_out

if TYPE_CHECKING:
    from collections.abc import Iterable

_VERSION_DIRECTORY = re.compile(rb"PG_([0-9.]+)_[0-9]+")  # TABLESPACE_VERSION_DIRECTORY in src/include/common/relpath.h
_WAL_DIRECTORY = b"pg_wal"
_OURS = b"holdfast-"
CONFIGURATION_DIRECTORY = b"holdfast-configuration"
"""Where a snapshot has the configuration that lies outside the data directory."""

CONFIGURATION_FILES = frozenset({b"postgresql.conf", b"postgresql.auto.conf", b"pg_hba.conf", b"pg_ident.conf"})
"""What a server reads in its data directory: a restore writes into the first two."""


class DataDirectoryRules:
    """The ScanRules of a data directory of a ``major`` version; ``tablespaces``: the numbers that the server knows."""

    def __init__(self, tablespaces: Iterable[int], major: int) -> None:
        self._tablespaces = frozenset(f"pg_tblspc/{oid}".encode() for oid in tablespaces)
        self._version = b"%d" % major

    def left_out(self, directory: bytes, names: list[bytes]) -> frozenset[bytes]:
        """Return what a base backup leaves out; of ``pg_wal`` only the directories stay."""
        excluded = left_out(directory, names)
        if not directory:
            return excluded | {CONFIGURATION_DIRECTORY}  # of an earlier restore: a snapshot has its own
        if directory == _WAL_DIRECTORY:
            return excluded | {name for name in names if name not in {b"archive_status", b"summaries"}}
        if directory.startswith(_WAL_DIRECTORY + b"/"):
            return frozenset(names)
        if directory in self._tablespaces:
            return excluded | {name for name in names if self._is_strange(name)}
        return excluded

    def _is_strange(self, name: bytes) -> bool:
        """Whether a name in a tablespace is not the server's.

        It may be what a restore in place staged, or keeps as a checkpoint; or the part of the cluster that it was
        upgraded from, whose files ``pg_upgrade --link`` makes names of the server's own.
        """
        version = _VERSION_DIRECTORY.fullmatch(name)
        return name.startswith(_OURS) or (version is not None and version[1] != self._version)

    def is_entered(self, link: bytes) -> bool:
        """Return whether a link is a tablespace; one that the server does not know leads to nobody knows what."""
        return link in self._tablespaces

    def is_replaced_by_target(self, link: bytes) -> bool:
        """Return whether a link stands for what it leads to: ``initdb --waldir`` makes one, others move a database.

        The server follows it, so what lies there is the cluster's; and a restored cluster must not share it.
        """
        return link in CONFIGURATION_FILES or is_in_servers_own(link)


def is_in_servers_own(path: bytes) -> bool:
    """Return whether a path is, or lies in, a directory of the server's own, in its tablespaces too."""
    first, *rest = path.split(b"/")
    return first in SERVERS_OWN_DIRECTORIES or (first == TABLESPACES_DIRECTORY and len(rest) > 1)
