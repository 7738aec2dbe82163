"""What each file of a data directory is, and which ones a backup leaves out; pure facts about paths.

The rules are those of PostgreSQL's own base backup (``src/backend/backup/basebackup.c``, in 14
``src/backend/replication/basebackup.c``) and of the manual's section "Backing Up the Data Directory". They hardly
differ between 14 and 18:

- ``pg_wal/summaries`` (WAL summaries) exists since 17 and is kept as an empty directory like ``archive_status``;
- ``.DS_Store`` is left out by the minor releases since 2024 of all versions;
- in 14, ``stats_temp_directory`` may name a directory other than ``pg_stat_tmp``; its files are copied, harmlessly;
- in-place tablespaces (directories in ``pg_tblspc``, for tests) exist since 15, and the last minor releases of 14.

Paths are bytes, relative to the data directory, separated by "/". Tablespaces are seen where ``pg_tblspc`` shows
them, be that a symbolic link or a directory.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class FileKind(Enum):
    """What a file of a data directory is to a backup."""

    RELATION = "relation"
    """A segment of a fork of a table or index; carries page checksums where the cluster has them."""
    CONTROL = "control"
    """``global/pg_control``: copied last, put in place last."""
    WAL = "wal"
    """Below ``pg_wal``: not copied with the files; a snapshot carries the segments that it needs."""
    SLRU = "slru"
    """Transaction states (pg_xact, pg_multixact, pg_commit_ts): pages without checksums."""
    OTHER = "other"
    """Copied as it is: configuration, maps of relations, versions, logs, what users put there."""
    EXCLUDED = "excluded"
    """Left out: rebuilt at start, wrong in a copy, or gone with the session that made it."""
    EXCLUDED_CONTENTS = "excluded contents"
    """Inside a directory that is kept, but empty."""


class Fork(Enum):
    """The forks of a relation; values as file names show them (``src/common/relpath.c``)."""

    MAIN = ""
    FREE_SPACE_MAP = "fsm"
    VISIBILITY_MAP = "vm"
    INIT = "init"


class RelationFile(NamedTuple):
    """One file of a relation: ``segment`` counts from 0, in files of 1 GiB unless the server was built otherwise."""

    file_node: int
    fork: Fork
    segment: int


class FileRole(NamedTuple):
    """What a path is; ``relation`` is set for FileKind.RELATION alone."""

    kind: FileKind
    relation: RelationFile | None = None

    @property
    def has_page_checksums(self) -> bool:
        """Whether its pages carry checksums in a cluster that has them switched on.

        Only relation files do (``is_checksummed_file`` and its list ``noChecksumFiles`` to 16; the relation's number
        since 17): not pg_control, pg_filenode.map, pg_internal.init or PG_VERSION that lie among them.
        """
        return self.relation is not None


DIRECTORIES_KEPT_EMPTY = frozenset(
    {b"pg_dynshmem", b"pg_notify", b"pg_replslot", b"pg_serial", b"pg_snapshots", b"pg_stat_tmp", b"pg_subtrans"}
)
"""``excludeDirContents``: emptied or rebuilt when the server starts; kept for their permissions."""

_SLRU_DIRECTORIES = frozenset({b"pg_xact", b"pg_multixact", b"pg_commit_ts"})
TABLESPACES_DIRECTORY = b"pg_tblspc"
SERVERS_OWN_DIRECTORIES = (
    DIRECTORIES_KEPT_EMPTY
    | _SLRU_DIRECTORIES
    | {b"base", b"global", b"pg_logical", b"pg_stat", b"pg_twophase", b"pg_wal"}
)
"""What a server keeps its state in, but for tablespaces: it follows links to or in them, and no other server may."""

_EXCLUDED_NAMES = frozenset(
    {
        b"postgresql.auto.conf.tmp",
        b"current_logfiles.tmp",
        b"backup_label",
        b"tablespace_map",
        b"backup_manifest",
        b"postmaster.pid",
        b"postmaster.opts",
        b".DS_Store",
    }
)
_EXCLUDED_PREFIXES = (b"pg_internal.init", b"pgsql_tmp")

_RELATION = re.compile(rb"([1-9][0-9]{0,9})(?:_(fsm|vm|init))?(?:\.([1-9][0-9]{0,9}))?")
_TEMPORARY_RELATION = re.compile(rb"t[0-9]+_[0-9]+(?:_(?:fsm|vm|init))?(?:\.[0-9]+)?")
_DATABASE_DIRECTORY = re.compile(rb"(?:base|pg_tblspc/[0-9]+/PG_[0-9.]+_[0-9]+)/[0-9]+")

_CONTROL = FileRole(FileKind.CONTROL)
_WAL = FileRole(FileKind.WAL)
_SLRU = FileRole(FileKind.SLRU)
_OTHER = FileRole(FileKind.OTHER)
_EXCLUDED = FileRole(FileKind.EXCLUDED)
_EXCLUDED_CONTENTS = FileRole(FileKind.EXCLUDED_CONTENTS)


def classify(path: bytes) -> FileRole:
    """Return what the file at ``path`` is, by its name alone.

    Unlogged relations cannot be told by one name: ``left_out`` sees their init forks beside them.
    """
    parts = path.split(b"/")
    if any(_is_excluded_name(part) for part in parts):
        return _EXCLUDED
    if len(parts) > 1:
        if not DIRECTORIES_KEPT_EMPTY.isdisjoint(parts[:-1]):
            return _EXCLUDED_CONTENTS
        if parts[0] == b"pg_wal":
            return _WAL
        if parts[0] in _SLRU_DIRECTORIES:
            return _SLRU
    return _CONTROL if path == b"global/pg_control" else _classify_in(b"/".join(parts[:-1]), parts[-1])


def left_out(directory: bytes, names: Iterable[bytes]) -> frozenset[bytes]:
    """Return which of the names in one directory a backup leaves out; ``directory`` is b"" for the data directory.

    These are excluded files, temporary relations, and of each unlogged relation every fork but the init fork, from
    which the server makes it anew. The contents of directories that are kept empty are left out whole.
    """
    names = list(names)
    prefix = directory + b"/" if directory else b""
    excluded = {n for n in names if classify(prefix + n).kind in {FileKind.EXCLUDED, FileKind.EXCLUDED_CONTENTS}}
    if is_database_directory(directory):
        excluded |= _unlogged(names)
    return frozenset(excluded)


def is_database_directory(directory: bytes) -> bool:
    """Whether it holds the relations of one database, in the default or another tablespace."""
    return _DATABASE_DIRECTORY.fullmatch(directory) is not None


def _classify_in(directory: bytes, name: bytes) -> FileRole:
    is_database = is_database_directory(directory)
    if is_database and _TEMPORARY_RELATION.fullmatch(name):
        return _EXCLUDED
    if is_database or directory == b"global":
        relation = _relation_file(name)
        return FileRole(FileKind.RELATION, relation) if relation else _OTHER
    return _OTHER


def _relation_file(name: bytes) -> RelationFile | None:
    match = _RELATION.fullmatch(name)
    if match is None:
        return None
    return RelationFile(int(match[1]), Fork((match[2] or b"").decode()), int(match[3] or 0))


def _unlogged(names: list[bytes]) -> set[bytes]:
    relations = {name: relation for name in names if (relation := _relation_file(name))}
    unlogged = {r.file_node for r in relations.values() if r.fork is Fork.INIT}
    return {n for n, r in relations.items() if r.file_node in unlogged and r.fork is not Fork.INIT}


def _is_excluded_name(name: bytes) -> bool:
    return name in _EXCLUDED_NAMES or name.startswith(_EXCLUDED_PREFIXES)
