"""What a promoted cluster has written itself is queued for the archive, and nothing else."""

import os
from dataclasses import dataclass

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.timeline import Timeline
from holdfast.services.postgres.archive_status import queue_own_wal

MIB = 1 << 20


@dataclass(frozen=True)
class Control:
    """What of a control file matters here."""

    timeline: Timeline
    checkpoint: Lsn
    wal_segment_size: int = 16 * MIB


def test_marks(tmp_path):
    status = tmp_path / "pg_wal" / "archive_status"
    status.mkdir(parents=True)
    expected = {
        "000000030000000000000005": ".ready",  # written before the server was stopped
        "000000030000000000000006": None,  # being written
        "000000030000000000000007": None,  # made ahead
        "00000003.history": ".ready",
        "000000020000000000000005": ".done",  # of the origin
        "000000010000000000000004": ".done",
        "00000002.history": ".done",
        "xlogtemp.1": None,
    }
    for name in expected:
        (tmp_path / "pg_wal" / name).touch()
    (status / "000000020000000000000005.ready").touch()
    queue_own_wal(tmp_path, Control(Timeline(3), Lsn(6 * 16 * MIB + 4096)))
    assert set(os.listdir(status)) == {f"{name}{mark}" for name, mark in expected.items() if mark}
