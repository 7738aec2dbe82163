"""An older or damaged copy of a cluster, before anything in it is rewritten: is it at rest, and of this cluster?

A half-done delta restore has its control file set aside, so that no server starts; it is recognised by that one, or by
the marker of the restore.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError, PermissionRefusedError, UsageError, reason_of
from holdfast.postgres.control import CONTROL_PATH, parse_control_file
from holdfast.postgres.running import require_stopped, servers_using

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from holdfast.services.postgres.facts import PostgresFacts

_OTHER_PLACE = "to restore to a new directory, leave --delta away"
_IN_TABLESPACE_DIRECTORY = re.compile(r"PG_[0-9]+_[0-9]+|lost\+found")
_IN_WAL_DIRECTORY = re.compile(
    r"[0-9A-F]{24}(\.[0-9A-F]{8}\.backup|\.partial)?|[0-9A-F]{8}\.history|archive_status|summaries"
    r"|xlogtemp\.[0-9]+|RECOVERY(XLOG|HISTORY)|holdfast-.+|lost\+found"
)
"""What a server puts into ``pg_wal``: see src/include/access/xlog_internal.h."""
MAY_BE_LINKS = frozenset({b"pg_wal"})
"""Directories of a cluster that may be links to directories elsewhere (``initdb --waldir``)."""


def require_copy(target: Path, facts: PostgresFacts, set_aside: Path, marked: str | None) -> None:
    """Raise UsageError unless ``target`` is a stopped data directory of the snapshot's cluster.

    ``set_aside`` is where a half-done restore left the control file; ``marked`` the system identifier that the marker
    of a restore in the directory tells, if there is one.
    """
    if not target.is_dir():
        raise UsageError(
            f"{target} does not exist" if not target.exists() else f"{target} is not a directory", hint=_OTHER_PLACE
        )
    require_stopped(target)
    found = _system_identifier(target / os.fsdecode(CONTROL_PATH), set_aside) or marked
    if found is None:
        is_cluster = (target / "PG_VERSION").exists() or (target / "global").is_dir()
        raise UsageError(
            f"{target} has no control file that tells which cluster it is a copy of"
            if is_cluster
            else f"{target} is not a data directory",
            hint=_OTHER_PLACE,
        )
    if found != facts.system_identifier:
        raise UsageError(
            f"{target} belongs to another cluster (system identifier {found}) than the snapshot "
            f"(system identifier {facts.system_identifier})",
            hint="name the copy of this cluster, or restore to a new directory",
        )


def require_wal_directory(target: Path, facts: PostgresFacts) -> None:
    """Raise UsageError where ``pg_wal`` of the copy is a link to something that is not this copy's WAL alone.

    All that is not in the snapshot would be removed there. A copy made with ``cp -a`` has a link to the WAL of the
    cluster that it was copied from.
    """
    link = target / "pg_wal"
    if not link.is_symlink():
        return
    place = link.resolve()
    users = [root for root in servers_using(place) if root != target]
    if facts.data_directory and os.path.realpath(facts.data_directory) != os.path.realpath(target):
        home = Path(facts.data_directory)
        users += [home] if place == (home / "pg_wal").resolve() else []
    strangers = [each.name for each in _listed(place) if not _IN_WAL_DIRECTORY.fullmatch(each.name)]
    if users or strangers:
        found = f"the WAL of {users[0]} is" if users else f"there is {strangers[0]}, which is no WAL"
        raise UsageError(
            f"pg_wal of the copy leads to {place}, where {found}",
            hint=f"put a directory of its own in place of the link {link}",
        )


def places_of_copy(target: Path, facts: PostgresFacts, asked: Mapping[str, Path]) -> dict[str, Path]:
    """Return where the copy's tablespaces are, by name: where its links lead, or where the operator says.

    A copy made with ``cp -a`` has links to the tablespaces of the cluster that it was copied from: raise UsageError for
    one that leads to where the snapshot's cluster has it, unless the copy is that cluster, or the operator says so.
    """
    home = facts.data_directory  # empty where only the replication protocol was asked
    is_the_cluster = bool(home) and os.path.realpath(target) == os.path.realpath(home)
    places = dict(asked)
    for tablespace in facts.tablespaces:
        if tablespace.is_in_place or tablespace.name in asked:
            continue
        link = target / "pg_tblspc" / str(tablespace.oid)
        place = link.resolve() if link.is_symlink() else None
        if not is_the_cluster and (place is None or os.fspath(place) == os.path.realpath(tablespace.location)):
            raise UsageError(
                f"tablespace {tablespace.name} of the copy is where the cluster itself has it: {tablespace.location}",
                hint=f"give the copy its own: --tablespace {tablespace.name}=/absolute/dir",
            )
        if place is not None:
            places[tablespace.name] = place
    return places


def require_tablespaces(target: Path, roots: Sequence[Path], places: Mapping[str, Path]) -> list[Path]:
    """Return the directories of ``roots`` that the copy does not have yet, having proven the others to be tablespaces.

    Raises UsageError for a place that holds something else, or that a running server of this machine uses: all that
    is not in the snapshot would be removed there.
    """
    for name, place in places.items():
        strangers = [each.name for each in _listed(place) if not _IN_TABLESPACE_DIRECTORY.fullmatch(each.name)]
        if strangers:
            raise UsageError(
                f"tablespace {name}: {place} is none, it holds {strangers[0]}", hint=_give_it_another(name)
            )
        others = [root for root in servers_using(place) if root != target]
        if others:
            raise UsageError(
                f"tablespace {name}: {place} is in use by the running server of {others[0]}",
                hint=_give_it_another(name),
            )
    return [root for root in roots if root != target and root not in places.values()]


def _listed(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir()) if directory.is_dir() else []
    except PermissionError as error:
        raise PermissionRefusedError(
            f"may not read {error.filename}: {reason_of(error)}", hint="run it as root, or as who may read the copy"
        ) from error


def _give_it_another(name: str) -> str:
    return f"give it another directory: --tablespace {name}=/absolute/dir"


def _system_identifier(*candidates: Path) -> str | None:
    """Return what the first control file that can be read tells; None when none can."""
    for path in candidates:
        try:
            return str(parse_control_file(path.read_bytes()).system_identifier)
        except (OSError, HoldfastError):  # gone, damaged, or of a version that nobody knows
            continue
    return None
