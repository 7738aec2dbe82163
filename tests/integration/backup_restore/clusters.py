"""What backups are judged by: clusters with something of everything, compared before and after."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import psycopg
from tests.integration.backup_restore.stack import wait_until
from tests.servers.postgres import account, postgres_binaries

from holdfast.errors import HoldfastError
from holdfast.postgres.datadir import FileKind, classify
from holdfast.postgres.initdb import add_settings
from holdfast.postgres.local import LocalCluster
from holdfast.postgres.server import Server
from holdfast.wal.archive import WalArchive

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.backup_restore.stack import StackDirectory
    from tests.servers.postgres import ClusterFactory


def sql(cluster: LocalCluster, *statements: str, dbname: str = "postgres") -> None:
    """Run statements, each in a transaction of its own."""
    with psycopg.connect(cluster.conninfo(), dbname=dbname, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def ask(cluster: LocalCluster, query: str, dbname: str = "postgres"):
    """Return the one value of a query; None where it finds no row, as who waits for one may ask too early."""
    with psycopg.connect(cluster.conninfo(), dbname=dbname, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
        return row[0] if row else None


def make_least_role(cluster: LocalCluster, name: str) -> None:
    """Make a role with the least privileges for backups: those that Holdfast says a new one lacks."""
    sql(cluster, f'CREATE ROLE "{name}" LOGIN')
    with Server.connect(cluster.conninfo(user=name)) as server:
        missing = server.missing_privileges()
    sql(cluster, *missing)


def make_place(directory: Path, name: str) -> Path:
    """Make a directory for a tablespace, owned by the servers' account."""
    place = directory / name
    place.mkdir()
    account().take_over(place)
    return place


def make_standby(factory: ClusterFactory, primary: LocalCluster, name: str = "standby") -> LocalCluster:
    """Copy a stopped primary and start the copy as its standby."""
    primary.stop()
    directory = factory.directory / name
    subprocess.run(["cp", "-a", primary.data_directory, directory], check=True)
    (directory / "standby.signal").touch()
    account().take_over(directory / "standby.signal")
    # Between two tries to connect a standby rests for seconds, in which a backup's checkpoint removes what it needs
    add_settings(primary.data_directory / "postgresql.conf", {"wal_keep_size": "1GB"})
    primary.start()
    add_settings(directory / "postgresql.conf", {"primary_conninfo": primary.conninfo()})
    return factory.adopt(LocalCluster(primary.binaries, directory, account=account()))


def archive_plain_wal(cluster: LocalCluster, stack: StackDirectory, plain: Path) -> None:
    """Wait until the server has copied all its WAL to ``plain``, and put it into the repository."""
    last = ask(cluster, "SELECT pg_walfile_name(pg_switch_wal())")
    not_yet = cluster.data_directory / "pg_wal" / "archive_status" / f"{last}.ready"
    wait_until(lambda: (plain / last).exists() and not not_yet.exists())  # the copy is whole only then
    repository = stack.open()
    archive = WalArchive(repository.storage, repository.keys, repository.snapshots()[-1].facts["system_identifier"])
    for path in sorted(plain.iterdir()):
        archive.push(path.name, path.read_bytes())


def start_restored(factory: ClusterFactory, source: LocalCluster, target: Path) -> LocalCluster:
    """Start what was restored, with no setting but where its socket is."""
    try:
        return factory.adopt(LocalCluster(source.binaries, target, account=account()))
    except HoldfastError as error:
        raise AssertionError("\n".join((error.message, *error.details))) from error


def relation_files(root: Path) -> dict[bytes, bytes]:
    """Return the content of every file of a relation, and of the transaction states beside them, by path."""
    found = {}
    for directory, _, names in os.walk(os.fsencode(root), followlinks=True):
        for name in names:
            absolute = os.path.join(directory, name)
            path = os.path.relpath(absolute, os.fsencode(root))
            if classify(path).kind in {FileKind.RELATION, FileKind.SLRU}:
                with open(absolute, "rb") as file:
                    found[path] = file.read()
    return found


def require_sound(cluster: LocalCluster) -> None:
    """Run pg_amcheck over everything; 15's program serves for every version."""
    program = postgres_binaries(15).program("pg_amcheck")
    host = cluster.conninfo().split()[0].removeprefix("host=")
    command = [program, "--all", "--heapallindexed", "--install-missing", "-h", host, "-p", "5432", "-U", "postgres"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (answer.returncode, answer.stdout) == (0, ""), answer.stdout + answer.stderr


def require_clean_pages(cluster: LocalCluster) -> None:
    """Stop the cluster and run 15's pg_checksums, or for other versions our own check of every page."""
    cluster.stop()
    if cluster.binaries.has_program("pg_checksums"):
        command = [cluster.binaries.program("pg_checksums"), "--check", "-D", cluster.data_directory]
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd="/", **account().child_identity()
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
    else:
        require_page_checksums(cluster.data_directory)


def require_page_checksums(root: Path) -> None:
    """Verify the checksum of every page of every relation."""
    import numpy as np

    from holdfast.postgres.page import PageVerifier

    verifier = PageVerifier(block_size=8192)
    for path, content in relation_files(root).items():
        relation = classify(path).relation
        if relation is not None and content:
            first = relation.segment * 131072
            blocks = np.arange(first, first + len(content) // 8192, dtype=np.uint32)
            assert verifier.verify(content, blocks).is_clean, path


def require_free(cluster: LocalCluster) -> None:
    """The server has no connection of ours, no replication slot, and so no backup in progress."""
    query = (
        "SELECT (SELECT count(*) FROM pg_replication_slots) + "
        "(SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holdfast')"
    )
    wait_until(lambda: ask(cluster, query) == 0)
