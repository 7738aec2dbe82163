"""Pages that come by the replication protocol cannot be read again; what they say of themselves decides instead.

The server reads a page whose checksum does not match once more before it sends it (``sendFile`` in
``src/backend/backup/basebackup.c``). If what it then sends is still wrong, and was last changed before the backup
began, nothing was writing it: it is corrupt. If it was changed since, recovery writes it anew from the WAL; but no page
can be from after the backup's end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.page import page_lsn
from holdfast.services.postgres.pages import PageInspector, PageShape

if TYPE_CHECKING:
    from holdfast.services.postgres.facts import CorruptPage
    from holdfast.services.postgres.pages import Suspect

_HEADER_BYTES = 24


class ArrivedPageInspector(PageInspector):
    """Verifies relation pages as they come (an Inspector) in a backup that began at ``start``."""

    def __init__(self, shape: PageShape, start: Lsn) -> None:
        super().__init__(shape)
        self._start = start
        self._changed_since: list[CorruptPage] = []

    def settle(self, stop: Lsn) -> list[CorruptPage]:
        """Return what is corrupt, now that the backup's end is known."""
        impossible = [page for page in self._changed_since if Lsn.parse(page.lsn) > stop]
        return sorted([*self.corrupt, *impossible], key=lambda page: (page.path, page.block))

    def confirmed(self, suspects: list[Suspect]) -> list[Suspect]:
        """Return those that nothing was writing; the others wait for the end.

        A header of zeros is that of a page that was never written, which is about to be.
        """
        written = [suspect for suspect in suspects if any(suspect.page[:_HEADER_BYTES])]
        self._changed_since += [each.finding() for each in written if page_lsn(each.page) >= self._start]
        return [each for each in written if page_lsn(each.page) < self._start]
