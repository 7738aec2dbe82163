"""Our reading of WAL against PostgreSQL's own, record by record: none missing, none too many, no field wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.wal_records import witnesses
from tests.integration.wal_records.workload import SETTINGS, WAL_SEGMENT_SIZE, pgbench, work
from tests.servers.postgres import postgres_binaries
from tests.unit.wal.finding import DirectorySource, find_between

from holdfast import clock
from holdfast.postgres.local import StopMode
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.segment import parse_segment_name
from holdfast.postgres.timeline import first_history
from holdfast.postgres.walmarks import MarkKind, marks
from holdfast.postgres.walxact import EndKind
from holdfast.progress import Silence
from holdfast.wal.find import WalFinder
from holdfast.wal.scan import WalScan

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.wal_records.witnesses import Told

    from holdfast.postgres.local import LocalCluster
    from holdfast.postgres.walmarks import Mark
    from holdfast.postgres.walxact import TransactionEnd

MARKS = {
    ("XLOG", kind)
    for kind in (
        "CHECKPOINT_SHUTDOWN",
        "CHECKPOINT_ONLINE",
        "SWITCH",
        "PARAMETER_CHANGE",
        "RESTORE_POINT",
        "END_OF_RECOVERY",
    )
}


def told(cluster: LocalCluster) -> tuple[Path, list[Told]]:
    """Return the WAL of a cluster, which is stopped, and what PostgreSQL itself reads in it."""
    first = ask(cluster, "SELECT min(name) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'")
    directory = cluster.data_directory / "pg_wal"
    if not cluster.binaries.has_program("pg_waldump"):
        sql(cluster, "CREATE EXTENSION pg_walinspect")
        start = parse_segment_name(first, WAL_SEGMENT_SIZE).start
        end = Lsn.parse(ask(cluster, "SELECT pg_current_wal_flush_lsn()::text"))
        records = witnesses.inspected(cluster.conninfo(), start, end)
        cluster.stop()
        return directory, records
    cluster.stop()
    return directory, witnesses.dumped(cluster.binaries, directory, first)


def read(directory: Path) -> tuple[list[tuple[int, int, int, int]], list[Mark], list[TransactionEnd]]:
    """Return what we read: (start, end, xid, length) of all records, the marks, and the ends of transactions."""
    source = DirectorySource(directory, first_history())
    rows, found_marks = [], []
    for records in WalScan(source, Silence()).stretches(source.segments):
        columns = (records.starts, records.ends, records.xids, records.lengths)
        rows += list(zip(*(column.tolist() for column in columns), strict=True))
        found_marks += list(marks(records))
    long_ago = datetime(2000, 1, 2, tzinfo=UTC)
    return rows, found_marks, list(find_between(WalFinder(source), long_ago, clock.now() + timedelta(days=1)))


def require_agreement(directory: Path, records: list[Told]) -> list[TransactionEnd]:
    """Compare both; what was written after the witness looked is left out."""
    rows, found_marks, ends = read(directory)
    last = records[-1].start
    ours = [row for row in rows if row[0] <= last]
    assert [(row[0], row[2], row[3]) for row in ours] == [(each.start, each.xid, each.length) for each in records]
    switches = {mark.start for mark in found_marks if mark.kind is MarkKind.SWITCH}
    if records[0].end is not None:
        assert [row[1] for row in ours if row[0] not in switches] == [
            each.end for each in records if each.start not in switches
        ]
        assert {mark.end for mark in found_marks if mark.start in switches and mark.start <= last} <= {
            each.end for each in records
        }
    seen = [(end.xid, end.kind.value, end.time, end.start, end.subtransactions) for end in ends if end.start <= last]
    assert seen == witnesses.told_ends(records)
    assert {mark.start for mark in found_marks if mark.start <= last} == {
        each.start for each in records if (each.rmgr, each.kind) in MARKS
    }
    return ends


def test_all_records_are_those_that_postgres_reads(binaries, make_cluster):
    cluster = make_cluster(binaries, settings=SETTINGS, wal_segment_size_bytes=WAL_SEGMENT_SIZE)
    work(cluster)
    ends = require_agreement(*told(cluster))
    assert max(len(end.subtransactions) for end in ends) > 400
    assert {end.kind for end in ends} == set(EndKind)


def test_pgbench_ends_as_pg_waldump_says(make_cluster):
    cluster = make_cluster(postgres_binaries(15), settings=SETTINGS, wal_segment_size_bytes=WAL_SEGMENT_SIZE)
    pgbench(cluster, 4000)
    ends = require_agreement(*told(cluster))
    assert len(ends) > 4000


def test_a_record_given_up_after_a_crash_is_passed_over(make_cluster):
    cluster = make_cluster(postgres_binaries(15), settings=SETTINGS, wal_segment_size_bytes=WAL_SEGMENT_SIZE)
    sql(cluster, "CREATE TABLE item (id int)", "SELECT pg_switch_wal()", "INSERT INTO item VALUES (1)")
    broken = ask(cluster, "SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    sql(cluster, "SELECT pg_logical_emit_message(true, 'lost', repeat('l', 3000000))")
    cluster.stop(StopMode.IMMEDIATE)
    for path in (cluster.data_directory / "pg_wal").glob("00000001*"):
        if path.name > broken:
            path.unlink()
    cluster.start()
    sql(cluster, "INSERT INTO item VALUES (2)", "SELECT pg_create_restore_point('after the crash')")
    directory, records = told(cluster)
    assert "OVERWRITE_CONTRECORD" in {each.kind for each in records}
    require_agreement(directory, records)


def test_restore_points_and_times_are_those_of_the_server(binaries, make_cluster):
    cluster = make_cluster(binaries, settings=SETTINGS, wal_segment_size_bytes=WAL_SEGMENT_SIZE)
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        ends = []
        for name in ("first", "grün und naß", "first"):
            answer = connection.execute("SELECT pg_create_restore_point(%s)::text, clock_timestamp()", (name,))
            lsn, after = answer.fetchone()
            ends.append((name, Lsn.parse(lsn), after))
    cluster.stop()
    finder = WalFinder(DirectorySource(cluster.data_directory / "pg_wal", first_history()))
    found = [point for name in ("first", "grün und naß") for point in finder.find_restore_point(name)]
    assert sorted((point.name, point.end) for point in found) == sorted((name, lsn) for name, lsn, _ in ends)
    for point in found:
        (after,) = [time for _, lsn, time in ends if lsn == point.end]
        assert timedelta(0) <= after - point.time < timedelta(seconds=5)
    assert finder.find_restore_point("never") == []
