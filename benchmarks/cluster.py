"""The cluster that everything is measured on: pgbench at scale 200 and a text table of 1.5 million rows, 3.4 GB."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from holdfast.postgres.binaries import Binaries, find_binaries
from holdfast.postgres.initdb import ClusterOptions, create_cluster
from holdfast.postgres.local import LocalCluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAJOR = 15
SCALE = 200
ROWS = 1_500_000
SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "archive_mode": "off",
}
_TEXTS = f"""
CREATE TABLE texts AS SELECT g AS id, md5(g::text) AS a,
       repeat(md5((g * 7)::text), 3) || ' lorem ipsum dolor sit amet ' || g AS body,
       now() + g * interval '1 second' AS at
  FROM generate_series(1, {ROWS}) AS g
"""


def require_binaries() -> Binaries:
    """Return the server's programs; raise when they are not installed."""
    binaries = find_binaries(MAJOR)
    if binaries is None:
        raise SystemExit(f"PostgreSQL {MAJOR} is needed: apt-get install postgresql-{MAJOR}")
    return binaries


@contextmanager
def running(directory: Path, scale: int) -> Iterator[LocalCluster]:
    """Yield the cluster, running; it is made when the directory does not hold it yet (about a minute)."""
    binaries, data = require_binaries(), directory / f"cluster-{scale}"
    is_new = not (data / "PG_VERSION").exists()
    if is_new:
        print(f"making the cluster: pgbench at scale {scale}, {ROWS * scale // SCALE:,} rows of text", flush=True)
        create_cluster(binaries, data, ClusterOptions(settings=SETTINGS))
    with LocalCluster(binaries, data) as cluster:
        if is_new:
            fill(cluster, scale)
        with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        yield cluster


def fill(cluster: LocalCluster, scale: int) -> None:
    """Fill a new cluster, of any version."""
    pgbench = require_binaries().program("pgbench")
    subprocess.run([pgbench, "-i", "-q", "-s", str(scale), cluster.conninfo()], check=True, capture_output=True)
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        connection.execute(_TEXTS.replace(str(ROWS), str(ROWS * scale // SCALE)))
        connection.execute("CREATE INDEX ON texts (id)")
        connection.execute("VACUUM (FREEZE, ANALYZE)")
