"""A workload that ends transactions in every way that the WAL knows, and writes records of every length."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import psycopg
from tests.servers.postgres import postgres_binaries

if TYPE_CHECKING:
    from holdfast.postgres.local import LocalCluster

SETTINGS = {
    "max_prepared_transactions": "20",
    "wal_level": "logical",
    "wal_keep_size": "1GB",
    "max_wal_size": "1GB",
    "max_locks_per_transaction": "256",
    "fsync": "off",
    "autovacuum": "off",
}
WAL_SEGMENT_SIZE = 2**20


def work(cluster: LocalCluster) -> None:
    """End some hundred transactions, in every way."""
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        execute = connection.execute
        execute("CREATE TABLE item (id bigint, words text)")
        _end_plainly(execute)
        _end_with_savepoints(execute)
        _end_prepared(execute)
        _end_with_baggage(execute)
        _write_long_records(execute)
        _replay_from_elsewhere(execute)
        execute("SELECT pg_create_restore_point('before the fall')")
        execute("SELECT pg_switch_wal()")
        execute("CHECKPOINT")
        _end_plainly(execute)


def pgbench(cluster: LocalCluster, transactions: int) -> None:
    """Run pgbench's own transactions, by four clients."""
    host = cluster.conninfo().split()[0].removeprefix("host=")
    program = postgres_binaries(15).directory / "pgbench"
    common = ["-h", host, "-p", "5432", "-U", "postgres", "postgres"]
    subprocess.run([program, "-i", "-q", "-s", "1", *common], check=True, capture_output=True)
    subprocess.run([program, "-c", "4", "-t", str(transactions // 4), *common], check=True, capture_output=True)


def _end_plainly(execute) -> None:
    for number in range(100):
        execute("BEGIN")
        execute("INSERT INTO item VALUES (%s, repeat('x', %s))", (number, number * 7))
        execute("ROLLBACK" if number % 5 == 0 else "COMMIT")


def _end_with_savepoints(execute) -> None:
    for count, end in ((1, "COMMIT"), (3, "ROLLBACK"), (90, "COMMIT"), (500, "COMMIT")):
        execute("BEGIN")
        for number in range(count):
            execute(f"SAVEPOINT s{number}")
            execute("INSERT INTO item VALUES (%s, 'sub')", (number,))
            if number % 7 == 3:
                execute(f"ROLLBACK TO SAVEPOINT s{number}")
        execute(end)


def _end_prepared(execute) -> None:
    for number, end in enumerate(("COMMIT PREPARED", "ROLLBACK PREPARED") * 3):
        execute("BEGIN")
        execute(f"CREATE TABLE prepared_{number} (id int)")
        if number % 3 == 0:
            execute("SAVEPOINT s")
            execute("INSERT INTO item VALUES (1, 'two-phase')")
        execute(f"PREPARE TRANSACTION 'transfer {number}'")
        execute("INSERT INTO item VALUES (2, 'meanwhile')")
        execute(f"{end} 'transfer {number}'")


def _end_with_baggage(execute) -> None:
    for end in ("ROLLBACK", "COMMIT"):
        execute("BEGIN")
        for number in range(60):
            execute(f"CREATE TABLE many_{number} (id int PRIMARY KEY, words text)")
        execute(end)
    execute("BEGIN")
    execute("SAVEPOINT s")
    for number in range(60):
        execute(f"DROP TABLE many_{number}")
    execute("PREPARE TRANSACTION 'drop them'")
    execute("COMMIT PREPARED 'drop them'")


def _write_long_records(execute) -> None:
    for length in (100, 8_000, 8_168, 16_336, 300_000, 1_100_000, 3_000_000):
        execute("SELECT pg_logical_emit_message(true, 'test', repeat('m', %s))", (length,))


def _replay_from_elsewhere(execute) -> None:
    execute("SELECT pg_replication_origin_create('elsewhere')")
    execute("SELECT pg_replication_origin_session_setup('elsewhere')")
    for number in range(5):
        execute("BEGIN")
        execute("SELECT pg_replication_origin_xact_setup('0/1234', now())")
        execute("INSERT INTO item VALUES (%s, 'from elsewhere')", (number,))
        if number % 2:
            execute("SAVEPOINT s")
            execute("INSERT INTO item VALUES (%s, 'from elsewhere, too')", (number,))
        execute("COMMIT")
    execute("SELECT pg_replication_origin_session_reset()")
