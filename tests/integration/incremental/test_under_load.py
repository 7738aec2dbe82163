"""Incremental backups of a server that writes all the time: torn pages among what is hashed and stored (FAULTS 28)."""

from __future__ import annotations

import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.integration.backup_restore.clusters import ask, require_clean_pages, require_sound, sql, start_restored
from tests.integration.backup_restore.stack import StackDirectory
from tests.servers.postgres import postgres_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.postgres import ClusterFactory

    from holdfast.postgres.local import LocalCluster


@contextmanager
def pgbench(cluster: LocalCluster) -> Iterator[None]:
    """Run TPC-B as fast as it goes, and VACUUM beside it."""
    program = postgres_binaries(15).program("pgbench")
    command = [program, "-n", "-c", "4", "-T", "600", "-h", cluster.conninfo().split()[0].removeprefix("host=")]
    load = subprocess.Popen(
        [*command, "-U", "postgres", "postgres"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    is_over = threading.Event()

    def clean() -> None:
        while not is_over.wait(0.2):
            sql(cluster, "VACUUM", "CHECKPOINT")

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    try:
        yield
    finally:
        is_over.set()
        cleaner.join()
        load.terminate()
        load.wait()


def test_fault_28_backups_under_load_each_recover_to_a_sound_cluster(
    make_cluster: ClusterFactory, tmp_path: Path, shared_directory: Path
) -> None:
    cluster = make_cluster(postgres_binaries(15), settings={"shared_buffers": "1MB", "bgwriter_delay": "10ms"})
    host = cluster.conninfo().split()[0].removeprefix("host=")
    program = cluster.binaries.program("pgbench")
    subprocess.run(
        [program, "-i", "-q", "-s", "4", "-h", host, "-U", "postgres", "postgres"], check=True, capture_output=True
    )
    stack = StackDirectory(tmp_path / "stack", {"db": cluster.conninfo()})
    stack.succeed("init")
    with pgbench(cluster):
        made = [stack.backup() for _ in range(4)]
    assert made[-1]["stats"]["new_plain_bytes"] < made[0]["stats"]["new_plain_bytes"]
    stack.check()
    for number in (1, 3):
        target = shared_directory / f"restored-{number}"
        stack.succeed("restore", "db", "--target", target, "--snapshot", made[number]["id"])
        restored = start_restored(make_cluster, cluster, target)
        sums = {
            ask(restored, f"SELECT sum({column}) FROM {table}")
            for table, column in (
                ("pgbench_accounts", "abalance"), ("pgbench_tellers", "tbalance"), ("pgbench_branches", "bbalance"),
                ("pgbench_history", "delta"),
            )
        }  # fmt: skip
        assert len(sums) == 1
        require_sound(restored)
        require_clean_pages(restored)
