"""Names of relations as snapshots recorded them: afterwards no server need answer to say what a file was.

A backup records the names of the relations that changed most since the one before. So a file's name is that of the last
backup, up to the snapshot in question, in which its relation changed; one that never did has none.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from holdfast.postgres.datadir import classify
from holdfast.services.postgres.activity import first_file
from holdfast.services.postgres.facts import from_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from holdfast.repository.snapshot import Snapshot
    from holdfast.services.postgres.facts import ChangedPages


class RelationName(NamedTuple):
    """A relation with its schema; ``database`` is empty for a shared one."""

    database: str
    relation: str

    def __str__(self) -> str:
        return f"{self.database}: {self.relation}" if self.database else self.relation


class RecordedNames:
    """The names that a row of snapshots recorded, the later ones first in doubt."""

    def __init__(self, snapshots: Iterable[Snapshot]) -> None:
        """``snapshots``: of one service, oldest first. DamageError where the facts of one cannot be read."""
        self._names = {
            os.fsencode(each.path): RelationName(each.database, each.relation)
            for snapshot in snapshots
            for each in from_facts(snapshot.facts, snapshot.object_name).changed_pages
            if each.relation
        }

    def of(self, path: bytes) -> RelationName | None:
        """Return the name of the relation that a file belongs to, None where it is not known."""
        relation = classify(path).relation
        return self._names.get(first_file(path, relation)) if relation is not None else None

    def name(self, changed: Sequence[ChangedPages]) -> tuple[ChangedPages, ...]:
        """Return the same with the names that are known."""
        return tuple(self._named(each) for each in changed)

    def _named(self, changed: ChangedPages) -> ChangedPages:
        name = self._names.get(os.fsencode(changed.path))
        return msgspec.structs.replace(changed, database=name.database, relation=name.relation) if name else changed
