"""Two servers with one past and one archive, each with a resident process: what one of them may no longer archive.

After the first file of which the archive has other bytes, its WAL is not that of the archive any more. Shipping ahead
must not put it there under names that the other server has not come to yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.integration.backup_restore.clusters import sql
from tests.integration.backup_restore.stack import wait_until
from tests.servers.postgres import account

if TYPE_CHECKING:
    from holdfast.postgres.local import LocalCluster

from holdfast.wal.names import conflict_name


@pytest.fixture
def shop(make_archiving):
    """A cluster whose archive_command does nothing: the resident process alone ships."""
    archiving = make_archiving()
    archiving.archive_by("false")
    return archiving


def of_another(content: bytes) -> bytes:
    """Return a segment as another server would have gone on to write it."""
    other = bytearray(content)
    other[-100] ^= 1
    return bytes(other)


def test_fault_01_nothing_is_shipped_ahead_of_a_segment_that_another_server_archived(shop):
    common, taken, *later = shop.write(6)
    content = (shop.wal_directory / taken).read_bytes()
    shop.archive().push(common, (shop.wal_directory / common).read_bytes())
    shop.archive().push(taken, of_another(content))
    with shop.serving():
        wait_until(lambda: any(taken in line and "other bytes" in line for line in shop.serve_log()))
        assert shop.archived() & set(later) == set()
        assert is_kept_apart(shop, taken)
        assert shop.is_acknowledged(common)
        assert not shop.is_acknowledged(taken)
        # this server is the right one after all: what an operator is told to do
        (shop.wal_directory / "archive_status" / f"{taken}.ready").rename(shop.directory / "moved")
        wait_until(lambda: set(later) <= shop.archived())


def test_fault_03_nothing_of_a_timeline_is_shipped_whose_history_another_server_archived(shop):
    before = shop.write(1)
    promote(shop.cluster)
    later = shop.write(3)
    shop.archive().push("00000002.history", b"1\t0/2000100\tno recovery target specified\n")
    with shop.serving():
        wait_until(lambda: any("00000002.history" in line and "other bytes" in line for line in shop.serve_log()))
        wait_until(lambda: shop.is_acknowledged(before[0]))
    assert [name for name in shop.archived() if name.startswith("00000002") and name in later] == []


def promote(cluster: LocalCluster) -> None:
    """Take a server to its next timeline."""
    cluster.stop()
    signal = cluster.data_directory / "standby.signal"
    signal.touch()
    account().take_over(signal)
    cluster.start()
    sql(cluster, "SELECT pg_promote()")


def is_kept_apart(shop, taken: str) -> bool:
    """Whether the archive has other bytes of a segment, under a name of their own."""
    return any(name.startswith(conflict_name(taken, bytes(32))[:-16]) for name in shop.archived())
