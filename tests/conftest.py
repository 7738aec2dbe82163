"""Fixtures that every test may use: real PostgreSQL servers."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from tests.servers import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.postgres.binaries import Binaries

# How long an example takes is the machine's affair: no property fails because others work there too
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def _signals_as_on_a_terminal() -> None:
    """Undo what nohup, or a shell that runs this in the background, had ignored: processes under test inherit it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leave the cache of who runs the tests alone, whatever forgets to say which one is meant."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", params=postgres.MAJORS, ids=lambda major: f"postgres-{major}")
def binaries(request: pytest.FixtureRequest) -> Binaries:
    """Each PostgreSQL that the tests run on, one after the other."""
    return postgres.postgres_binaries(request.param)


@pytest.fixture
def shared_directory() -> Iterator[Path]:
    """A directory that the account of the servers can reach and write to."""
    directory = postgres.make_shared_directory()
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def make_cluster(shared_directory: Path) -> Iterator[postgres.ClusterFactory]:
    """Make and start clusters, ended after the test: ``make_cluster(binaries, "data", settings={...})``."""
    factory = postgres.ClusterFactory(shared_directory)
    yield factory
    factory.close()
