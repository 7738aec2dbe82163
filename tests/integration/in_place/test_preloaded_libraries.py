"""What a cluster preloads is there while its restore is proven, but the workers of it do not begin before the swap."""

import pytest
from tests.integration.in_place.services import archive
from tests.integration.in_place.test_kills import killed

from holdfast.crashpoint import CrashPoint

IN_STAGING = "current_setting('unix_socket_directories') LIKE '/tmp/holdfast-pg-%'"
HAS_NO_ROOM = f"SELECT (current_setting('max_worker_processes') = '0') = ({IN_STAGING})"
NEEDS_ITS_LIBRARY = "SELECT count(*) >= 0 FROM pg_stat_statements"
UNHEARD = "SET synchronous_commit = local; "
DUMPED = "autoprewarm.blocks"
"""What the worker of pg_prewarm leaves in the data directory when its server stops."""


@pytest.fixture
def preloading(make):
    """Make a service that preloads two libraries, one of them with a worker, and commits to a standby that is away."""

    def make_one(major):
        service = make(major, checks={"postgres": [HAS_NO_ROOM, NEEDS_ITS_LIBRARY]}, amcheck=True)
        with (service.data / "postgresql.conf").open("a") as file:
            file.write(
                "shared_preload_libraries = 'pg_prewarm, pg_stat_statements'\nsynchronous_standby_names = 'away'\n"
            )
        return service

    return make_one


def fill(service):
    service.sql(
        UNHEARD + "CREATE EXTENSION pg_stat_statements",
        UNHEARD + "CREATE TABLE item AS SELECT i AS id FROM generate_series(1, 1000) AS i",
    )
    service.stack.backup()
    service.sql(UNHEARD + "INSERT INTO item SELECT i FROM generate_series(1001, 2000) AS i")


@pytest.mark.parametrize(
    "major", [15, pytest.param(17, marks=pytest.mark.slow), pytest.param(18, marks=pytest.mark.slow)]
)
def test_recovered_from_the_archive(preloading, major):
    service = preloading(major)
    archive(service)
    fill(service)
    service.stack.succeed("restore", "db", "--to", "latest", "--yes")
    assert (service.ask("SELECT count(*) FROM item"), service.timeline) == (2000, 2)
    service.stack.succeed("restore", "db", "--to", "latest", "--timeline", "1", "--yes")
    assert (service.ask("SELECT count(*) FROM item"), service.timeline) == (2000, 3)


@pytest.mark.parametrize("major", [15, pytest.param(18, marks=pytest.mark.slow)])
def test_recovered_from_the_snapshot_alone(preloading, major):
    service = preloading(major)
    service.stop()
    service.start()
    fill(service)
    killed(service, CrashPoint.SWAP_PROVEN, "restore", "db", "--yes")
    (staged,) = service.leftovers
    assert not (staged / DUMPED).exists()
    service.stack.succeed("restore", "db", "--yes")
    assert (service.ask("SELECT count(*) FROM item"), service.timeline) == (1000, 2)
    service.stop()
    assert (service.data / DUMPED).exists(), "the worker is there again once the cluster is in service"
