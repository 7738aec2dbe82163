"""Data, and writers that change it all the time: pgbench where it is installed, the same in SQL where it is not.

Both fill the four tables of pgbench and run its transaction "TPC-B (sort of)" (manual, page "pgbench"), which adds one
amount to an account, a teller and a branch, and notes it in a history; so the four must always agree. Other than there,
most transactions hit the same few accounts, as in life: 95 of 100 the first 6 in 100 accounts.
"""

from __future__ import annotations

import random
import subprocess
import threading
from typing import TYPE_CHECKING, Protocol, Self

from holdfast.errors import ServerError
from holdfast.operations.demo.interruption import interruptions_held_back
from holdfast.postgres.connection import connect, translated
from holdfast.thread import Thread

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from holdfast.postgres.binaries import Binaries
    from holdfast.postgres.connection import Connection

ACCOUNTS_PER_SCALE = 100_000
TELLERS_PER_SCALE = 10
BYTES_PER_SCALE = 15 * 2**20
TRANSACTIONS_PER_S = 200

_ENDING_S = 30
_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/bin:/bin", "PGCONNECT_TIMEOUT": "10"}

_FILL = (
    "CREATE TABLE public.pgbench_branches (bid int PRIMARY KEY, bbalance int NOT NULL)",
    "CREATE TABLE public.pgbench_tellers (tid int PRIMARY KEY, bid int NOT NULL, tbalance int NOT NULL)",
    "CREATE TABLE public.pgbench_accounts (aid int, bid int, abalance int DEFAULT 0, filler char(84) DEFAULT '')",
    "CREATE TABLE public.pgbench_history (tid int, bid int, aid int, delta int, mtime timestamptz)",
    "INSERT INTO public.pgbench_branches SELECT n, 0 FROM generate_series(1, %(scale)s) n",
    "INSERT INTO public.pgbench_tellers SELECT n, (n - 1) / 10 + 1, 0 FROM generate_series(1, %(scale)s * 10) n",
    "INSERT INTO public.pgbench_accounts SELECT n, (n - 1) / 100000 + 1 FROM generate_series(1, %(scale)s * 100000) n",
    "ALTER TABLE public.pgbench_accounts ADD PRIMARY KEY (aid)",
)
_TRANSACTION = """
WITH account AS (UPDATE public.pgbench_accounts SET abalance = abalance + %(delta)s WHERE aid = %(aid)s),
     teller AS (UPDATE public.pgbench_tellers SET tbalance = tbalance + %(delta)s WHERE tid = %(tid)s),
     branch AS (UPDATE public.pgbench_branches SET bbalance = bbalance + %(delta)s WHERE bid = %(bid)s)
INSERT INTO public.pgbench_history VALUES (%(tid)s, %(bid)s, %(aid)s, %(delta)s, now())
"""

_SKEW = 50
"""The parameter of the exponential distribution, which cuts off what is beyond the last account."""

# ":scale" is what -s says; 50 is the skew again.
_SCRIPT = r"""
\set aid random_exponential(1, 100000 * :scale, 50)
\set bid random(1, :scale)
\set tid random(1, 10 * :scale)
\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
END;
"""


class Load(Protocol):
    """Fills a database, and as a context manager writes to it until the block ends or the server does."""

    name: str

    def fill(self) -> None:
        """Make the tables and their rows; ServerError when that fails."""
        ...

    def __enter__(self) -> Self:
        """Begin to write."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the writers."""
        ...


def make_load(binaries: Binaries, conninfo: str, scale: int, directory: Path) -> Load:
    """Return the load that this machine can give; a script for it is put into ``directory``."""
    if binaries.has_program("pgbench"):
        script = directory / "load.sql"
        script.write_text(_SCRIPT)
        return PgbenchLoad(binaries.program("pgbench"), conninfo, scale, script)
    return SqlLoad(conninfo, scale)


class PgbenchLoad:
    """Load by pgbench."""

    name = "pgbench"

    def __init__(self, program: Path, conninfo: str, scale: int, script: Path) -> None:
        """Only remember."""
        self._program, self._conninfo, self._scale, self._script = program, conninfo, scale, script
        self._process: subprocess.Popen[bytes] | None = None

    def fill(self) -> None:
        """Run ``pgbench -i``."""
        process = self._start(["-i", "-q"], stderr=subprocess.PIPE)
        try:
            _, said = process.communicate()
        finally:
            self._end()
        if process.returncode != 0:
            raise ServerError(
                "pgbench could not fill the database",
                hint="the lines above come from pgbench",
                details=tuple(said.decode(errors="replace").splitlines()[-5:]),
            )

    def __enter__(self) -> Self:
        """Start it in the background, at a rate that leaves the machine room for the backups."""
        endless = ["-n", "-c", "2", f"--rate={TRANSACTIONS_PER_S}", "-T", "86400", "-f", str(self._script)]
        self._start(endless, stderr=subprocess.DEVNULL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._end()

    def _start(self, options: Sequence[str], *, stderr: int) -> subprocess.Popen[bytes]:
        command = [str(self._program), "-s", str(self._scale), *options, self._conninfo]
        with interruptions_held_back():
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                cwd="/",
                env=_ENVIRONMENT,
                start_new_session=True,  # Ctrl-C is for us to handle
            )
        return self._process

    def _end(self) -> None:
        if self._process is None:
            return
        with interruptions_held_back():
            self._process.terminate()
            try:
                self._process.wait(_ENDING_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class SqlLoad:
    """Load by a connection of our own."""

    name = "SQL"

    def __init__(self, conninfo: str, scale: int) -> None:
        """Only remember."""
        self._conninfo, self._scale = conninfo, scale
        self._stopping = threading.Event()
        self._thread = Thread(self._write, "load")

    def fill(self) -> None:
        """Generate the rows in the server."""
        with connect(self._conninfo) as connection, translated("filling the database"):
            for statement in _FILL:
                connection.execute(statement.replace("%(scale)s", str(self._scale)).encode())

    def __enter__(self) -> Self:
        """Start a thread."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._stopping.set()
        self._thread.wait()

    def _write(self) -> None:
        try:
            with connect(self._conninfo) as connection, translated("writing"):
                while not self._stopping.wait(1 / TRANSACTIONS_PER_S):
                    self._transact(connection)
        except ServerError:
            return  # the server is gone: that is part of the demo

    def _transact(self, connection: Connection) -> None:
        accounts = self._scale * ACCOUNTS_PER_SCALE
        connection.execute(
            _TRANSACTION,
            {
                "aid": 1 + int(random.expovariate(_SKEW) * accounts) % accounts,
                "tid": random.randint(1, self._scale * TELLERS_PER_SCALE),  # noqa: S311 - data, not a secret
                "bid": random.randint(1, self._scale),  # noqa: S311
                "delta": random.randint(-5000, 5000),  # noqa: S311
            },
        )
