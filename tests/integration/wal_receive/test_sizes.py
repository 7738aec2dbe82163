"""Segments of every size, in little memory."""

from pathlib import Path

import pytest
from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.wal_receive.receiving import current, require_same_wal, wait_until_stored
from tests.integration.wal_receive.test_receive import FILL
from tests.servers.postgres import postgres_binaries

from holdfast.wal.names import WalFileKind

LIMIT_MIB = 300_000_000 / (1 << 20)


def peak_mib(pid):
    """The largest memory of a process until now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (value,) = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return value / 1024


def received(cluster, make_receiving, size_mib, fill):
    receiving = make_receiving(cluster)
    child = receiving.start_streaming("--create-slot")
    for _ in range(4):
        sql(cluster, fill)
    segment, _ = current(cluster, size_mib << 20)
    sql(cluster, "SELECT pg_switch_wal()", "CREATE TABLE t AS SELECT 1")
    until = wait_until_stored(receiving, cluster, timeout_s=120)
    peak = peak_mib(child.pid)
    assert receiving.stop(child).code == 0
    assert segment.name in receiving.names(WalFileKind.SEGMENT)
    assert require_same_wal(receiving, cluster, until, size_bytes=size_mib << 20) >= 2
    return peak


@pytest.mark.parametrize("size_mib", [1, 64])
def test_smaller_and_larger_segments(make_cluster, make_receiving, size_mib):
    cluster = make_cluster(postgres_binaries(15), settings={"autovacuum": "off"}, wal_segment_size_bytes=size_mib << 20)
    assert ask(cluster, "SHOW wal_segment_size") == f"{size_mib}MB"
    assert received(cluster, make_receiving, size_mib, FILL.format(8)) < LIMIT_MIB


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_largest_segments(make_cluster, make_receiving):
    cluster = make_cluster(
        postgres_binaries(15), settings={"autovacuum": "off", "max_wal_size": "8GB"}, wal_segment_size_bytes=1 << 30
    )
    assert received(cluster, make_receiving, 1024, FILL.format(240)) < LIMIT_MIB
