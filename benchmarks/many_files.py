"""Many small files: 30,000 tables with a key and 20 rows each, 121,000 files, 1.2 GB; measured like large ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from benchmarks.cluster import MAJOR, SETTINGS, require_binaries
from benchmarks.local_files import measure_local
from holdfast.postgres.initdb import ClusterOptions, create_cluster
from holdfast.postgres.local import LocalCluster

if TYPE_CHECKING:
    from pathlib import Path

TABLES, _AT_ONCE = 30_000, 500
_MAKE = f"""
DO $$ BEGIN
  FOR number IN 1..{_AT_ONCE} LOOP
    EXECUTE format('CREATE TABLE t_%s_%s (id int PRIMARY KEY, name text)', %(batch)s, number);
    EXECUTE format('INSERT INTO t_%s_%s SELECT i, md5(i::text) FROM generate_series(1, 20) AS i', %(batch)s, number);
  END LOOP;
END $$
"""


def measure_many_files(directory: Path, cluster: LocalCluster, rounds: int) -> None:  # noqa: ARG001 - one of its own
    """Measure first backup, second backup and restore, beside pgBackRest and a plain copy."""
    place = directory / "many"
    place.mkdir(mode=0o755, exist_ok=True)
    data = place / f"cluster-{MAJOR}"
    is_new = not (data / "PG_VERSION").exists()
    if is_new:
        settings = {**SETTINGS, "max_locks_per_transaction": "1000"}
        create_cluster(require_binaries(), data, ClusterOptions(settings=settings))
    with LocalCluster(require_binaries(), data) as own:
        if is_new:
            _fill(own)
        measure_local(place, own, rounds)


def _fill(cluster: LocalCluster) -> None:
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        for batch in range(TABLES // _AT_ONCE):
            connection.execute(_MAKE.replace("%(batch)s", str(batch)).encode())
        connection.execute("CHECKPOINT")
