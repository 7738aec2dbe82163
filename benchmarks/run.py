"""``make bench``: measure, compare, print Markdown tables. ``--only`` picks parts, ``--rounds`` says how often."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import cluster as bench_cluster
from benchmarks.chain import measure_chain
from benchmarks.command_line import measure_command_line
from benchmarks.delta import measure_delta
from benchmarks.incremental import measure_incremental
from benchmarks.local_files import measure_local
from benchmarks.many_files import measure_many_files
from benchmarks.object_store import measure_object_store
from benchmarks.peers import versions
from benchmarks.replication import measure_replication
from benchmarks.summaries import measure_summaries
from benchmarks.swap import measure_swap
from benchmarks.wal_fetch import measure_wal_fetch
from benchmarks.wal_push import measure_wal_push
from benchmarks.wal_receive import measure_wal_receive

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.postgres.local import LocalCluster

PARTS: dict[str, list[Callable[[Path, LocalCluster, int], None]]] = {
    "local": [measure_local],
    "many": [measure_many_files],
    "incremental": [measure_incremental],
    "summaries": [measure_summaries],
    "replication": [measure_replication],
    "s3": [measure_object_store],
    "cli": [measure_command_line],
    "delta": [measure_delta],
    "swap": [measure_swap],
    "chain": [measure_chain],
    "wal": [measure_wal_push, measure_wal_receive, measure_wal_fetch],
}
_LONG = {"chain"}
"""What takes most of an hour at the usual scale, and is measured only when it is asked for."""


def main() -> None:
    """Run the chosen parts on one cluster."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp/holdfast-bench"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=int, default=bench_cluster.SCALE, help="of pgbench; 200 is what is compared")
    parser.add_argument("--only", choices=sorted(PARTS), action="append")
    arguments = parser.parse_args()
    if shutil.which("pgbackrest") is None:
        sys.exit("pgBackRest is needed to compare with: apt-get install pgbackrest")
    arguments.directory.mkdir(parents=True, exist_ok=True)
    arguments.directory.chmod(0o755)
    print(f"# {platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}; {dict(versions())}")
    with bench_cluster.running(arguments.directory, arguments.scale) as cluster:
        for name in arguments.only or [part for part in PARTS if part not in _LONG]:
            print(f"\n## {name}", flush=True)
            for measure in PARTS[name]:
                measure(arguments.directory, cluster, arguments.rounds)


if __name__ == "__main__":
    main()
