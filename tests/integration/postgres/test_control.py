"""The control file as we read it, against PostgreSQL's own words about it."""

import subprocess
from datetime import UTC, datetime

import psycopg
import pytest
from tests.servers.postgres import postgres_binaries

from holdfast.postgres.control import ClusterState, read_control_file

STATES = {
    ClusterState.SHUT_DOWN: "shut down",
    ClusterState.SHUT_DOWN_IN_RECOVERY: "shut down in recovery",
    ClusterState.IN_PRODUCTION: "in production",
    ClusterState.IN_ARCHIVE_RECOVERY: "in archive recovery",
}


def controldata(data_directory):
    """Return what pg_controldata of PostgreSQL 15 says, by its labels."""
    answer = subprocess.run(
        [postgres_binaries(15).program("pg_controldata"), data_directory],
        capture_output=True,
        text=True,
        check=True,
        env={"LC_ALL": "C", "TZ": "UTC"},
    )
    return {key: value.strip() for key, _, value in (line.partition(":") for line in answer.stdout.splitlines())}


def as_controldata_says(control):
    """Put what we read into the words of pg_controldata."""
    return {
        "pg_control version number": str(control.control_version),
        "Database system identifier": str(control.system_identifier),
        "Database cluster state": STATES[control.state],
        "Latest checkpoint location": str(control.checkpoint),
        "Latest checkpoint's TimeLineID": str(control.timeline),
        "Time of latest checkpoint": f"{control.checkpoint_at:%a %b %e %H:%M:%S %Y}",
        "wal_level setting": control.wal_level.value,
        "Database block size": str(control.block_size),
        "Blocks per segment of large relation": str(control.relation_segment_blocks),
        "WAL block size": str(control.wal_block_size),
        "Bytes per WAL segment": str(control.wal_segment_size),
        "Data page checksum version": str(control.data_checksum_version),
    }


@pytest.mark.parametrize("wal_level", ["minimal", "replica", "logical"])
def test_same_as_pg_controldata(make_cluster, wal_level):
    cluster = make_cluster(
        postgres_binaries(15),
        wal_segment_size_bytes=2**22,
        has_checksums=wal_level == "logical",
        settings={"wal_level": wal_level, "max_wal_senders": "0"},
    )
    for stop in (lambda: None, cluster.stop):
        stop()
        ours = as_controldata_says(read_control_file(cluster.data_directory))
        theirs = controldata(cluster.data_directory)
        assert ours == {label: theirs[label] for label in ours}


def test_same_as_pg_controldata_on_a_standby(make_cluster):
    cluster = make_cluster(postgres_binaries(15))
    cluster.stop()
    (cluster.data_directory / "standby.signal").touch()
    for act in (cluster.start, cluster.stop):
        act()
        ours = as_controldata_says(read_control_file(cluster.data_directory))
        theirs = controldata(cluster.data_directory)
        assert ours == {label: theirs[label] for label in ours}


def test_same_as_the_server_says(binaries, make_cluster):
    cluster = make_cluster(binaries, wal_segment_size_bytes=2**21)
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        control = read_control_file(cluster.data_directory)
        query = """
            SELECT s.pg_control_version, s.system_identifier, c.checkpoint_lsn::text, c.timeline_id, c.checkpoint_time,
                   i.database_block_size, i.blocks_per_segment, i.wal_block_size, i.bytes_per_wal_segment,
                   i.data_page_checksum_version, current_setting('wal_level')
              FROM pg_control_system() s, pg_control_checkpoint() c, pg_control_init() i"""
        theirs = list(connection.execute(query).fetchone())
    assert control.major == binaries.major
    assert control.state is ClusterState.IN_PRODUCTION
    assert control.has_data_checksums
    assert [entry.astimezone(UTC) if isinstance(entry, datetime) else entry for entry in theirs] == [
        control.control_version,
        control.system_identifier,
        str(control.checkpoint),
        control.timeline,
        control.checkpoint_at,
        control.block_size,
        control.relation_segment_blocks,
        control.wal_block_size,
        control.wal_segment_size,
        control.data_checksum_version,
        control.wal_level.value,
    ]
