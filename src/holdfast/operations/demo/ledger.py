"""A table of random amounts, written while the backups run, and our own memory of every row that was committed.

One connection writes in transactions of ten rows, with ids that count up. So what is recovered must be rows 1 to N
without a hole, each as it was sent, and N at least the last one that the server had acknowledged.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from holdfast import clock
from holdfast.errors import ServerError
from holdfast.postgres.connection import connect, translated
from holdfast.thread import Thread

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from holdfast.postgres.connection import Connection

ROWS_PER_COMMIT = 10
_PAUSE_S = 0.005

_TABLE = "CREATE TABLE public.ledger (id bigint PRIMARY KEY, written timestamptz NOT NULL, amount bigint NOT NULL)"
_INSERT = "INSERT INTO public.ledger SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::bigint[])"
_READ = "SELECT id, written, amount FROM public.ledger ORDER BY id"

Row = tuple[int, "datetime", int]


@dataclass(frozen=True, slots=True)
class LedgerFindings:
    """A restored ledger against our memory: how many rows must be there, how many are, and how many are right."""

    required: int
    found: int
    equal: int

    @property
    def is_exact(self) -> bool:
        """Whether all rows that must be there are, none is missing in between, and none differs from what was sent."""
        return self.required <= self.found == self.equal


class Ledger:
    """Writes in a thread of its own, from ``start`` until ``stop`` or the server's end; the rows stay in memory."""

    def __init__(self, conninfo: str) -> None:
        """Only remember where."""
        self._conninfo = conninfo
        self._sent: list[Row] = []
        self._committed = 0
        self._stopping = threading.Event()
        self._thread = Thread(self._write, "ledger")

    def __enter__(self) -> Self:
        """Make the table and begin to write."""
        with connect(self._conninfo) as connection, translated("making the ledger"):
            connection.execute(_TABLE)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.wait()

    @property
    def committed(self) -> int:
        """How many rows the server has acknowledged."""
        return self._committed

    def compare(self, conninfo: str) -> LedgerFindings:
        """Compare the table of a restored cluster, row by row, with what was sent."""
        with connect(conninfo) as connection, translated("reading the ledger"):
            rows: list[Row] = connection.execute(_READ).fetchall()
        equal = sum(found == sent for found, sent in zip(rows, self._sent, strict=False))
        return LedgerFindings(self.committed, len(rows), equal)

    def _write(self) -> None:
        try:
            with connect(self._conninfo) as connection:
                while not self._stopping.wait(_PAUSE_S):
                    self._commit(connection)
        except ServerError:
            return  # the server is gone: that is part of the demo

    def _commit(self, connection: Connection) -> None:
        first = len(self._sent) + 1
        rows = [(first + n, clock.now(), secrets.randbelow(1_000_000)) for n in range(ROWS_PER_COMMIT)]
        self._sent += rows
        with translated("writing the ledger"):
            connection.execute(_INSERT, [list(column) for column in zip(*rows, strict=True)])
        self._committed = rows[-1][0]
