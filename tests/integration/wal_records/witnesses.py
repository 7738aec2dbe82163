"""What others say about WAL: pg_waldump of PostgreSQL 15, and the extension pg_walinspect of newer servers."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg

from holdfast.postgres.lsn import Lsn

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.postgres.binaries import Binaries

_DUMPED = re.compile(
    r"rmgr: (?P<rmgr>\S+) +len \(rec/tot\): +\d+/ *(?P<length>\d+), tx: +(?P<xid>\d+), lsn: (?P<lsn>\S+), "
    r"prev \S+, desc: (?P<kind>\S+) ?(?P<rest>.*)"
)
_END = re.compile(
    r"(?:(?P<prepared>\d+): )?(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?)(?: UTC|\+00)(?P<rest>.*)"
)
_ENDS = {"COMMIT": "commit", "COMMIT_PREPARED": "commit", "ABORT": "abort", "ABORT_PREPARED": "abort"}


@dataclass(frozen=True)
class Told:
    """One record as a witness tells it; ``end`` only where it does."""

    rmgr: str
    kind: str
    rest: str
    xid: int
    length: int
    start: Lsn
    end: Lsn | None


def dumped(binaries: Binaries, directory: Path, segment_name: str) -> list[Told]:
    """Return what pg_waldump shows, from a segment on to the end of the WAL."""
    last = max(path.name for path in directory.glob("00000001*") if len(path.name) == 24)
    command = [binaries.program("pg_waldump"), "-p", directory, segment_name, last]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env={"TZ": "UTC", "LC_ALL": "C"})
    return [_told(line) for line in answer.stdout.splitlines()]


def inspected(conninfo: str, start: Lsn, end: Lsn) -> list[Told]:
    """Return what pg_walinspect shows."""
    query = (
        "SELECT resource_manager, record_type, description, xid::text, record_length, start_lsn::text, end_lsn::text "
        "FROM pg_get_wal_records_info(%s, %s)"
    )
    with psycopg.connect(conninfo, autocommit=True, options="-c timezone=UTC") as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
        rows = connection.execute(query, (str(start), str(end))).fetchall()
    return [
        Told(rmgr, kind, rest, int(xid), length, Lsn.parse(start_lsn), Lsn.parse(end_lsn))
        for rmgr, kind, rest, xid, length, start_lsn, end_lsn in rows
    ]


def told_ends(records: list[Told]) -> list[tuple[object, ...]]:
    """Return (xid, how it ended, time, start, subtransactions) of the transactions among the records."""
    found = []
    for record in records:
        kind = _ENDS.get(record.kind.partition("+")[0])
        if record.rmgr == "Transaction" and kind:
            match = _END.fullmatch(record.rest)
            assert match is not None, record
            time = datetime.fromisoformat(match["time"]).replace(tzinfo=UTC)
            children = re.search(r"; subxacts: ([\d ]+)", match["rest"])
            ids = tuple(map(int, children[1].split())) if children else ()
            found.append((int(match["prepared"] or record.xid), kind, time, record.start, ids))
    return found


def _told(line: str) -> Told:
    match = _DUMPED.fullmatch(line)
    assert match is not None, line
    start = Lsn.parse(match["lsn"])
    return Told(match["rmgr"], match["kind"], match["rest"], int(match["xid"]), int(match["length"]), start, None)
