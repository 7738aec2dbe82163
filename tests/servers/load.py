"""A ledger of what was committed while a backup ran, so that a restore can be compared with the truth, row by row.

Every row's payload follows from its id, so nothing but ids is remembered. A row counts from the moment when the server
acknowledged its commit; what was in flight then may or may not be in a restore, but never with another payload.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import psycopg

from holdfast import clock
from holdfast.postgres.lsn import Lsn

if TYPE_CHECKING:
    from datetime import datetime

ROWS_PER_COMMIT = 5
JOIN_TIMEOUT_S = 90


@dataclass(frozen=True, slots=True)
class Commit:
    """One acknowledged transaction: it ended in the WAL at or before ``lsn``, and was known by ``at``."""

    ids: range
    at: datetime
    lsn: Lsn


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a database holds, against the ledger: ids that are missing, ids whose payload is wrong, rows in all."""

    missing: tuple[int, ...]
    wrong: tuple[int, ...]
    rows: int

    @property
    def is_exact(self) -> bool:
        """Whether every row that must be there is, and none is wrong."""
        return not self.missing and not self.wrong


def payload(row_id: int) -> str:
    """Return the payload of a row: 64 to 1,984 characters that follow from the id."""
    digest = hashlib.sha256(str(row_id).encode()).hexdigest()
    return digest * (1 + row_id % 31)


class Ledger:
    """Writer threads that insert rows into the table ``ledger``, and remember each commit.

    A writer that loses its server ends; the error is in ``interruptions``. Use as a context manager, or call
    ``start`` and ``stop``, also repeatedly: ids go on.
    """

    def __init__(self, conninfo: str, *, writers: int = 2) -> None:
        self.conninfo = conninfo
        self.interruptions: list[psycopg.Error] = []
        self._commits: list[Commit] = []
        self._next_id = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._writers = writers
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Make the table if it is not there, and begin to write."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS ledger (id bigint PRIMARY KEY, payload text NOT NULL)")
        self._stopping.clear()
        self._threads = [threading.Thread(target=self._write, daemon=True) for _ in range(self._writers)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the writers; RuntimeError when one hangs."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(JOIN_TIMEOUT_S)
            if thread.is_alive():
                raise RuntimeError("a writer of the ledger hangs")
        self._threads = []

    def commits(self, *, before: datetime | None = None, until: Lsn | None = None) -> list[Commit]:
        """Return what was acknowledged: all, or before an instant, or at or before a WAL position."""
        with self._lock:
            commits = list(self._commits)
        return [c for c in commits if (before is None or c.at < before) and (until is None or c.lsn <= until)]

    def wait_for(self, rows: int, *, timeout_s: float = 180) -> None:
        """Wait until this many more rows are committed."""
        wanted = self._rows() + rows
        deadline = clock.monotonic() + timeout_s
        while self._rows() < wanted:
            if clock.monotonic() > deadline or self.interruptions:
                raise RuntimeError(f"the ledger did not get its {rows} rows: {self.interruptions}")
            clock.sleep(0.01)

    def _rows(self) -> int:
        with self._lock:
            return sum(len(commit.ids) for commit in self._commits)

    def _write(self) -> None:
        try:
            with psycopg.connect(self.conninfo, autocommit=True) as connection:
                while not self._stopping.is_set():
                    self._commit_once(connection)
        except psycopg.OperationalError as error:
            self.interruptions.append(error)

    def _commit_once(self, connection: psycopg.Connection) -> None:
        with self._lock:
            ids = range(self._next_id, self._next_id + ROWS_PER_COMMIT)
            self._next_id = ids.stop
        rows = ", ".join(["(%s, %s)"] * len(ids))
        connection.execute(
            f"INSERT INTO ledger VALUES {rows}", [value for row_id in ids for value in (row_id, payload(row_id))]
        )
        acknowledged = clock.now()
        position = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        with self._lock:
            self._commits.append(Commit(ids, acknowledged, Lsn.parse(position[0])))


def compare(conninfo: str, commits: list[Commit]) -> Comparison:
    """Compare a database's ledger with the commits that must be in it."""
    with psycopg.connect(conninfo) as connection, connection.cursor("rows") as cursor:
        cursor.execute("SELECT id, payload FROM ledger")
        found = {row_id: text == payload(row_id) for row_id, text in cursor}
    return Comparison(
        missing=tuple(row_id for commit in commits for row_id in commit.ids if row_id not in found),
        wrong=tuple(row_id for row_id, is_right in found.items() if not is_right),
        rows=len(found),
    )
