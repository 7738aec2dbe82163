"""A cluster with a past: four timelines made by promotions and failbacks, under load, with servers killed on the way.

The truth about it comes from PostgreSQL's own ``pg_waldump``, never from our parser: which transaction committed where
and when, on every timeline, also on branches that nobody followed.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatch
from typing import TYPE_CHECKING

import psycopg
from tests.integration.backup_restore.clusters import ask, make_standby, sql
from tests.integration.backup_restore.stack import wait_until

from holdfast.postgres.local import StopMode
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.timeline import Timeline, TimelineHistory, first_history, parse_history
from holdfast.wal.archive import WalArchive

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.backup_restore.stack import StackDirectory
    from tests.servers.postgres import ClusterFactory

    from holdfast.postgres.binaries import Binaries

SETTINGS = {
    "fsync": "off",
    "wal_level": "replica",
    "archive_mode": "on",
    "max_wal_size": "64MB",
    "min_wal_size": "8MB",
    "autovacuum": "off",
    "shared_buffers": "16MB",
    "max_connections": "20",
}
SEGMENT_BYTES = 2**20
_TRANSACTION = re.compile(
    r"^rmgr: Transaction .* tx: +(\d+), lsn: ([0-9A-F]+/[0-9A-F]+),.* desc: (COMMIT|ABORT) (\S+ \S+) (\S+?)(?:;.*)?$"
)
_RECORD = re.compile(r"^rmgr: .* lsn: ([0-9A-F]+/[0-9A-F]+),")
_RESTORE_POINT = re.compile(r"^rmgr: XLOG .* lsn: ([0-9A-F]+/[0-9A-F]+),.* desc: RESTORE_POINT (.*)$")


@dataclass(frozen=True, order=True)
class End:
    """A transaction's end, as pg_waldump shows it: ``lsn`` is where its record begins."""

    lsn: Lsn
    xid: int
    is_commit: bool
    time: datetime


@dataclass
class Truth:
    """What pg_waldump says of one timeline's files: ends of transactions, starts of all records, restore points."""

    ends: list[End] = field(default_factory=list)
    records: list[Lsn] = field(default_factory=list)
    points: dict[str, Lsn] = field(default_factory=dict)


class World:
    """Servers that archive into a plain directory, and the stack whose archive gets what lies there."""

    def __init__(self, factory: ClusterFactory, binaries: Binaries, plain: Path, seed: int) -> None:
        self.plain = plain
        self.random = random.Random(seed)
        self._factory, self._binaries = factory, binaries
        command = f"test ! -f {plain}/%f && cp %p {plain}/%f.new && mv {plain}/%f.new {plain}/%f"
        self.server = factory(
            binaries,
            "timeline1",
            settings={**SETTINGS, "archive_command": command},
            wal_segment_size_bytes=SEGMENT_BYTES,
        )
        self.timeline = 1
        sql(self.server, "CREATE TABLE ledger (id bigserial, xid bigint NOT NULL, filler text)")
        self.acknowledged: set[int] = set()
        self.attempted: set[int] = set()
        self._pushed: set[str] = set()

    def load(self, transactions: int) -> None:
        """Write by two sessions at once; some transactions are rolled back, some have subtransactions."""
        seeds = [self.random.random(), self.random.random()]
        writers = [threading.Thread(target=self._write, args=(transactions // 2, seed)) for seed in seeds]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()

    def load_and_kill(self, transactions: int) -> None:
        """Write, and kill the server at a random moment; then start it again."""
        writer = threading.Thread(target=self._write_until_lost, args=(self.random.random(),))
        before = len(self.acknowledged)
        writer.start()
        wait_until(lambda: len(self.acknowledged) > before + transactions)
        self.server.stop(StopMode.IMMEDIATE)
        writer.join()
        self.server.start()

    def name_point(self, name: str) -> None:
        """Make a restore point."""
        sql(self.server, f"SELECT pg_create_restore_point('{name}')")

    def fail_over(self, *, goes_on: int = 0) -> None:
        """Promote a standby, after which the old primary may go on for some transactions, and archive them."""
        old = self.server
        standby = make_standby(self._factory, old, f"timeline{self.timeline + 1}")
        self.load(10)
        target = Lsn.parse(ask(old, "SELECT pg_current_wal_insert_lsn()::text"))
        wait_until(lambda: Lsn.parse(ask(standby, "SELECT pg_last_wal_replay_lsn()::text")) >= target)
        if not goes_on:
            old.stop(StopMode.IMMEDIATE)
        sql(standby, "SELECT pg_promote()", "CHECKPOINT")
        if goes_on:
            self.load(goes_on)
            self.archive_all()
            old.stop()
        self.server = standby
        self.timeline += 1

    def archive_all(self) -> None:
        """Have everything up to now archived by the present server."""
        name = ask(self.server, "SELECT pg_walfile_name(pg_switch_wal())")
        wait_until((self.plain / name).exists)

    def push(self, stack: StackDirectory) -> WalArchive:
        """Put into the stack's archive what lies in the plain directory and is not there yet."""
        repository = stack.open()
        facts = repository.snapshots()[-1].facts
        archive = WalArchive(repository.storage, repository.keys, facts["system_identifier"])
        for path in sorted(self.plain.iterdir()):
            if path.name not in self._pushed and not path.name.endswith(".new"):
                archive.push(path.name, path.read_bytes())
                self._pushed.add(path.name)
        return archive

    def history(self, timeline: int) -> TimelineHistory:
        """Return the past of a timeline, from the plain directory."""
        if timeline == 1:
            return first_history()
        number = Timeline(timeline)
        return parse_history(number, (self.plain / f"{number.hex}.history").read_text())

    def truth(self, timeline: int) -> Truth:
        """Return what happened on the way to a timeline's end, and nothing that happened beside it."""
        found = Truth()
        entries = self.history(timeline).entries
        dumps = {entry.timeline: self._dump(entry.timeline) for entry in entries}
        for number, entry in enumerate(entries):
            # The first file of the next timeline begins with a copy of what this one had written by then.
            for source in [each.timeline for each in entries[number : number + 2]]:
                for line in dumps[source]:
                    _take(found, line, entry.begin, entry.end)
        found.ends = sorted(set(found.ends))
        found.records = sorted(set(found.records))
        return found

    def _dump(self, timeline: Timeline) -> list[str]:
        # only what was pushed: a restore has the server in service archive more, and the stack never hears of that
        names = sorted(name for name in self._pushed if fnmatch(name, f"{timeline.hex}????????????????"))
        command = [self._binaries.program("pg_waldump"), "-p", self.plain, names[0], names[-1]]
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "TZ": "UTC", "LC_ALL": "C"}
        )
        return answer.stdout.splitlines()  # its last words are that the WAL ends, and exit code 1

    def _write(self, transactions: int, seed: float) -> None:
        dice = random.Random(seed)
        with psycopg.connect(self.server.conninfo(), autocommit=True) as connection:
            for _ in range(transactions):
                self._transact(connection, dice)

    def _write_until_lost(self, seed: float) -> None:
        dice = random.Random(seed)
        try:
            with psycopg.connect(self.server.conninfo(), autocommit=True) as connection:
                while True:
                    self._transact(connection, dice)
        except (psycopg.Error, psycopg.Rollback):  # also one that could not be carried out on a lost connection
            return

    def _transact(self, connection: psycopg.Connection, dice: random.Random) -> None:
        with connection.transaction() as transaction:
            query = "INSERT INTO ledger (xid, filler) VALUES (pg_current_xact_id()::text::bigint, %s) RETURNING xid"
            (xid,) = connection.execute(query, ["x" * dice.randrange(2000)]).fetchone()
            self.attempted.add(xid)
            if dice.random() < 0.2:
                with connection.transaction():
                    connection.execute(query, ["sub"])
            if dice.random() < 0.1:
                raise psycopg.Rollback(transaction)
        if transaction.status.name == "COMMITTED":
            self.acknowledged.add(xid)


def _take(found: Truth, line: str, begin: Lsn, end: Lsn | None) -> None:
    match = _RECORD.match(line)
    if match is None:
        return
    lsn = Lsn.parse(match[1])
    if lsn < begin or (end is not None and lsn >= end):
        return
    found.records.append(lsn)
    if match := _TRANSACTION.match(line):
        time = datetime.strptime(f"{match[4]}", "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
        found.ends.append(End(lsn, int(match[1]), match[3] == "COMMIT", time))
    elif match := _RESTORE_POINT.match(line):
        found.points[match[2].partition(";")[0].strip()] = lsn


def xids_of(conninfo: str) -> set[int]:
    """Return the transactions whose rows a database holds."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        return {xid for (xid,) in connection.execute("SELECT DISTINCT xid FROM ledger")}


def copy_cluster(source: Path, target: Path) -> None:
    """Copy a restored directory with all that belongs to it."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True)
