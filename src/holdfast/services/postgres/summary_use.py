"""What becomes of WAL summaries in one backup: followed, put to the test, or not used, and what is said of it.

Pages are left unread on their word for as long as the operator allows. Then all are read once, and each page that
differs from what is known of it, was not named, and was not written since the backup began, was missed: now, or at any
backup since it was last read.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from holdfast import clock
from holdfast.errors import ServerError
from holdfast.postgres.datadir import classify
from holdfast.services.postgres.activity import first_file, name_in_words, named
from holdfast.services.postgres.facts import ChangedPages, MissedPage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from holdfast.postgres.facts import ServerFacts
    from holdfast.progress import Reporter
    from holdfast.repository.page_hint import PageHint
    from holdfast.repository.page_memory import CachedMemory
    from holdfast.repository.parent import Parent
    from holdfast.services.postgres.facts import PostgresFacts

_PAGES_KEPT = 1000
_PAGES_SHOWN = 20
_NOT_FOLLOWED = "not followed: "


class SummaryUse:
    """WAL summaries and the pages of one backup."""

    def __init__(self, memory: CachedMemory, facts: ServerFacts, parent: Parent, reporter: Reporter) -> None:
        self._memory, self._facts, self._reporter = memory, facts, reporter
        self._parent_followed = _may_lack_pages(parent)
        self._words = self._followed_since = ""
        self._is_test = False
        self._missed: tuple[MissedPage, ...] = ()

    def heed(self, ask: Callable[[], PageHint], rehash_every: timedelta) -> None:
        """Follow the hint that ``ask`` gives, or test it if the last test is longer ago than ``rehash_every``."""
        if not self._memory.compares:
            self._words = _NOT_FOLLOWED + "there is nothing to compare with"
            self._read_what_was_left()
            return
        since = self._memory.hinted_since
        is_due = since is not None and not timedelta(0) <= clock.now() - since < rehash_every
        try:
            hint = ask()
        except ServerError as error:
            self._words = _NOT_FOLLOWED + error.message
            if is_due:
                self._read_what_was_left()
            advice = f"; {error.hint}" if error.hint else ""
            self._reporter.notice(
                f"WAL summaries are not followed, so changed files are read whole: {error.message}{advice}"
            )
            return
        if since is None or not is_due:
            self._memory.follow(hint)
            self._words = "followed: pages that they do not name were not read"
            return
        self._memory.review(hint)
        self._is_test, self._followed_since = True, since.isoformat()
        self._words = "put to the test: all pages were read"

    def ignore(self) -> None:
        """Use no summaries; if the last backup did, every page is read once, as they may have missed some."""
        self._read_what_was_left()

    def name_missed(self, conninfo: str) -> None:
        """Look up which relations the missed pages belong to, while the server is there."""
        pages = [page for path, numbers in sorted(self._memory.missed.items()) for page in self._pages(path, numbers)]
        counts = {page.path: ChangedPages(page.path, 1) for page in pages[:_PAGES_KEPT]}
        names = {each.path: each for each in named(tuple(counts.values()), self._facts.databases, conninfo)}
        self._missed = tuple(
            msgspec.structs.replace(page, database=names[page.path].database, relation=names[page.path].relation)
            for page in pages[:_PAGES_KEPT]
        )
        for line in self.warnings()[:1]:
            self._reporter.warning(line)

    def recorded(self, facts: PostgresFacts) -> PostgresFacts:
        """Return the facts of a snapshot with what became of the summaries."""
        since = self._memory.hinted_since
        return msgspec.structs.replace(
            facts,
            wal_summaries=self._words,
            followed_since=since.isoformat() if since else self._followed_since,
            missed_page_count=self._count if self._is_test else None,
            missed_pages=self._missed,
        )

    def warnings(self) -> tuple[str, ...]:
        """Return what was missed as lines for people, the first ones of many."""
        if not self._count:
            return ()
        shown = self._missed[:_PAGES_SHOWN]
        more = self._count - len(shown)
        what = (
            f"changed pages that WAL summaries did not name: {self._count:,}; snapshots since {self._followed_since} "
            "may have them as they were before, this one has them as they are; set 'wal_summaries: ignore'"
        )
        return (
            what,
            *(f"not named: {_relation(page)} block {page.block}" for page in shown),
            *([f"and {more:,} more: 'holdfast show --json' names up to {_PAGES_KEPT:,}"] if more else []),
        )

    def _read_what_was_left(self) -> None:
        """Read every page once if backups before this one left some unread; the cache may be lost that knew it."""
        if self._memory.hinted_since is not None or (self._parent_followed and not self._memory.compares):
            self._memory.renew()
            self._reporter.notice("WAL summaries are not followed any more: reading all relations once")

    @property
    def _count(self) -> int:
        return sum(len(numbers) for numbers in self._memory.missed.values())

    def _pages(self, path: bytes, numbers: Iterable[int]) -> Iterator[MissedPage]:
        relation = classify(path).relation
        assert relation is not None
        first_block = relation.segment * self._facts.relation_segment_blocks
        name = os.fsdecode(first_file(path, relation))
        return (MissedPage(name, first_block + int(number)) for number in numbers)


def _may_lack_pages(parent: Parent) -> bool:
    """Whether pages of a snapshot were left unread, there or before, and not all have been read since."""
    return bool(parent.facts.get("followed_since")) and parent.facts.get("missed_page_count") is None


def _relation(page: MissedPage) -> str:
    return name_in_words(ChangedPages(page.path, 1, database=page.database, relation=page.relation))
