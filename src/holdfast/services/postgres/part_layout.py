"""A snapshot as a throw-away cluster in which one database is whole (a Layout): the others' relations are holes.

They have their length and read as zeros, so they cost neither transfer nor space. Replay copes: what it changes comes
as full-page images first, and a record for a page that is not there is noted and skipped (``ignore_invalid_pages``,
manual, section 20.17 "Developer Options"). That setting would hide real faults of the wanted database, too: so the
server's log is read afterwards, and every page that it names must belong to a database that was left out. Shared
relations, WAL and the databases that others are made from (templates) are always whole.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from holdfast.postgres.datadir import FileKind, classify
from holdfast.services.postgres.layout import AUTO_CONF, PostgresLayout

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.repository.manifest import Entry
    from holdfast.services.postgres.facts import PostgresFacts

_FIRST_OF_USERS = 16384
"""``FirstNormalObjectId`` in ``src/include/access/transam.h``: below are template0, template1 and postgres."""

_IN_DATABASE = re.compile(r"(?:base|pg_tblspc/[0-9]+/[^/]+)/([0-9]+)/")
_INVALID_PAGE = re.compile(r"page [0-9]+ of relation \"?([^\s\"]+)\"? (?:is uninitialized|does not exist)")
"""``report_invalid_page`` in ``src/backend/access/transam/xlogutils.c``."""

_SETTINGS = """\
ignore_invalid_pages = 'on'
log_min_messages = 'warning'
lc_messages = 'C'
autovacuum = 'off'
"""


class PartLayout(PostgresLayout):
    """Maps the entries of one snapshot for a cluster of which only one database is read; tablespaces lie beside it.

    ``database`` None, or one whose number the snapshot does not know (it was made since): the cluster is whole.
    """

    def __init__(self, facts: PostgresFacts, target: Path, database: str | None) -> None:
        beside = target.with_name(f"{target.name}-tablespaces")
        outside = [tablespace for tablespace in facts.tablespaces if not tablespace.is_in_place]
        super().__init__(facts, target, {each.name: beside / str(each.oid) for each in outside})
        self.number = facts.database_numbers.get(database) if database is not None else None
        """The number of the only database that is whole; None: all are."""

    def is_filled(self, entry: Entry) -> bool:
        """Return whether a file gets its content: not where it is a relation of another database."""
        if self.number is None or classify(entry.path).kind is not FileKind.RELATION:
            return True
        return self.is_whole(entry.path.decode("ascii"))

    def is_whole(self, path: str) -> bool:
        """Return whether what lies at a path (within the data directory) belongs to what is restored whole."""
        database = _IN_DATABASE.match(path)
        return self.number is None or database is None or self._is_kept(int(database[1]))

    def _is_kept(self, number: int) -> bool:
        return number < _FIRST_OF_USERS or number == self.number

    def finish(self, last: Path) -> None:
        """Let recovery cope with the holes, and nothing look into them."""
        super().finish(last)
        if self.number is not None:
            with (self.target / AUTO_CONF).open("a", encoding="utf-8") as file:
                file.write(_SETTINGS)

    def missed_pages(self, log: str) -> list[str]:
        """Return the relations, by path, of which replay missed a page though they should be whole: no proof then."""
        return sorted({path for path in _INVALID_PAGE.findall(log) if self.is_whole(path)})
