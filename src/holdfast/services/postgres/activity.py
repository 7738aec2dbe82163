"""How many pages of which relation changed since the backup before: a picture of write activity that costs nothing.

Only files that are compared page by page count (those above 256 KiB); names are asked of the server for the relations
that changed most, a few databases at most, and are left out where it does not answer.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from holdfast.errors import ServerError
from holdfast.postgres.datadir import Fork, RelationFile, classify
from holdfast.postgres.relation_names import DEFAULT_TABLESPACE, SHARED_TABLESPACE, FileNumber, relation_names
from holdfast.services.postgres.facts import ChangedPages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from holdfast.postgres.facts import Database

_RELATIONS_KEPT = 100
_DATABASES_ASKED = 8
_SHARED = 0
_PLACE = re.compile(rb"(?:base/(?P<default>\d+)|pg_tblspc/(?P<space>\d+)/[^/]+/(?P<other>\d+))/[^/]+")


def most_changed(counts: Mapping[bytes, int]) -> tuple[ChangedPages, ...]:
    """Return the forks of which most pages changed, from the counts of their files; names are not known yet."""
    forks: Counter[tuple[bytes, Fork]] = Counter()
    for path, pages in counts.items():
        relation = classify(path).relation
        if relation is not None and pages:
            forks[first_file(path, relation), relation.fork] += pages
    return tuple(
        ChangedPages(os.fsdecode(path), pages, fork.value) for (path, fork), pages in forks.most_common(_RELATIONS_KEPT)
    )


def named(changed: Sequence[ChangedPages], databases: Iterable[Database], conninfo: str) -> tuple[ChangedPages, ...]:
    """Return the same with the names of databases and relations, as far as the server tells them."""
    by_number = {database.oid: database.name for database in databases}
    found: dict[str, ChangedPages] = {}
    for database in list(dict.fromkeys(_database(each) for each in changed))[:_DATABASES_ASKED]:
        name = by_number.get(database, "")
        own = [each for each in changed if _database(each) == database]
        found |= {each.path + each.fork: each for each in _named(own, name, conninfo)}
    return tuple(found.get(each.path + each.fork, each) for each in changed)


def name_in_words(changed: ChangedPages) -> str:
    """Return the name of a fork of a relation, and the file that it begins with."""
    name = f"{changed.database}: {changed.relation}" if changed.database else changed.relation
    return f"{name or 'unnamed'} ({changed.path}{', ' if changed.fork else ''}{changed.fork})"


def _named(changed: Sequence[ChangedPages], database: str, conninfo: str) -> list[ChangedPages]:
    try:
        names = relation_names(conninfo, database, [_file_number(each) for each in changed])
    except ServerError:
        names = [""] * len(changed)
    return [
        msgspec.structs.replace(each, database=database, relation=name)
        for each, name in zip(changed, names, strict=True)
    ]


def first_file(path: bytes, relation: RelationFile) -> bytes:
    """Return the first file of the main fork of a relation: what all its files are known by."""
    return b"%s/%d" % (os.path.dirname(path), relation.file_node)


def place_of(path: bytes) -> tuple[int, int] | None:
    """Return the numbers of the tablespace and the database that a relation's file lies in; None for other files."""
    match = _PLACE.fullmatch(path)
    if match is None:
        return (SHARED_TABLESPACE, _SHARED) if path.startswith(b"global/") else None
    return int(match["space"] or DEFAULT_TABLESPACE), int(match["default"] or match["other"])


def _database(changed: ChangedPages) -> int:
    """Return the number of the database that a file lies in, 0 for shared relations."""
    place = place_of(os.fsencode(changed.path))
    return place[1] if place else _SHARED


def _file_number(changed: ChangedPages) -> FileNumber:
    path = os.fsencode(changed.path)
    place = place_of(path)
    return FileNumber(place[0] if place else DEFAULT_TABLESPACE, int(os.path.basename(path)))
