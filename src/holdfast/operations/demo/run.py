"""The demo's recipe: a cluster under load, two backups, its destruction, its restore, and the proofs."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.config.load import load_stack
from holdfast.errors import ServerError, VerificationError
from holdfast.operations.demo.interruption import interruptions_held_back, one_interruption_at_most
from holdfast.operations.demo.ledger import Ledger
from holdfast.operations.demo.load import BYTES_PER_SCALE, TRANSACTIONS_PER_S, make_load
from holdfast.operations.demo.proofs import prove_ledger, prove_pages, prove_relations, prove_sums, timed
from holdfast.operations.demo.stage import Verdict
from holdfast.operations.demo.workspace import open_workspace
from holdfast.operations.snapshots import SnapshotFilter, list_snapshots
from holdfast.postgres.account import server_account
from holdfast.postgres.binaries import list_binaries
from holdfast.postgres.connection import connect, translated
from holdfast.postgres.initdb import ClusterOptions, create_cluster
from holdfast.postgres.local import LocalCluster, StopMode
from holdfast.postgres.lsn import Lsn
from holdfast.services.postgres.facts import from_facts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.operations.demo.stage import Proof, Stage
    from holdfast.operations.demo.workspace import Workspace
    from holdfast.postgres.binaries import Binaries

_MAJORS = range(14, 19)
_LOAD_BEFORE_S = 1.0
_LOAD_BETWEEN_S = 3.0
_LOAD_AFTER_S = 1.0
_ROOM_PER_SCALE = 5
"""Data, WAL, repository, and some more, in multiples of the data."""
_SETTINGS = {"max_wal_size": "1GB"}
_SIZE = "SELECT sum(pg_database_size(oid))::bigint FROM pg_database"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """``scale`` is pgbench's: about 15 MB each. ``is_kept``: the directory is not removed in the end."""

    scale: int = 20
    is_kept: bool = False


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What came of it; ``directory`` only when it was kept."""

    proofs: tuple[Proof, ...]
    directory: Path | None
    seconds: float


def run_demo(options: DemoOptions, stage: Stage) -> DemoReport:
    """Run the demo. VerificationError when a proof fails; all else that can go wrong as the commands raise it.

    However it ends, no process and no directory is left behind (but the directory, with ``is_kept``).
    """
    began = clock.monotonic()
    binaries = choose_binaries()
    with one_interruption_at_most(), open_workspace(is_kept=options.is_kept) as workspace:
        workspace.require_room(options.scale * BYTES_PER_SCALE * _ROOM_PER_SCALE)
        stage.chapter(f"A throw-away PostgreSQL {binaries.version} with page checksums, in {workspace.data_directory}")
        with _cluster(binaries, workspace) as cluster:
            workspace.write_stack_file(cluster.conninfo())
            ledger = _back_up_under_load(cluster, workspace, options, stage)

            stage.chapter("The disaster")
            shutil.rmtree(workspace.data_directory)
            position = _last_backup_end(workspace)
            lost = ledger.committed - ledger.committed_by(position)
            stage.say(f"the server is killed, and {workspace.data_directory} is gone")
            stage.say(
                f"{lost:,} ledger rows were committed after the last backup's end: only a WAL archive would bring"
            )
            stage.say("those back, and Holdfast does not have one yet")

            stage.chapter("The restore")
            stage.run([*_holdfast(workspace), "restore", "db", "--target", str(workspace.data_directory)])
            _start(cluster)
            stage.say("the restored server runs: it has replayed the WAL that the snapshot carries")

            stage.chapter("The proof")
            proofs = _prove(cluster, ledger, position, stage)
        stage.run([*_holdfast(workspace), "check", "--read-data"])
    if any(proof.verdict is Verdict.FAILED for proof in proofs):
        raise VerificationError("the restored cluster is not what was backed up: see above", hint="please report this")
    return DemoReport(proofs, workspace.root if options.is_kept else None, clock.monotonic() - began)


def choose_binaries() -> Binaries:
    """Return the programs to use: those with pgbench before others, then the newest; ServerError if there are none."""
    usable = [found for found in list_binaries() if found.major in _MAJORS and found.has_program("initdb")]
    if not usable:
        raise ServerError(
            f"no PostgreSQL {_MAJORS[0]} to {_MAJORS[-1]} server is installed here",
            hint="on Debian 12: apt-get install postgresql-15",
        )
    return max(usable, key=lambda found: (found.has_program("pgbench"), found.major))


@contextmanager
def _cluster(binaries: Binaries, workspace: Workspace) -> Iterator[LocalCluster]:
    """Make and start the cluster; stop it whatever happens."""
    account = server_account(workspace.data_directory)
    cluster = LocalCluster(binaries, workspace.data_directory, account=account)
    try:
        with interruptions_held_back():
            create_cluster(binaries, workspace.data_directory, ClusterOptions(settings=_SETTINGS), account)
        _start(cluster)
        yield cluster
    finally:
        with interruptions_held_back():
            cluster.close()


def _start(cluster: LocalCluster) -> None:
    with interruptions_held_back():
        cluster.start()


def _back_up_under_load(cluster: LocalCluster, workspace: Workspace, options: DemoOptions, stage: Stage) -> Ledger:
    """Run two backups while the cluster is written to, then kill the server in the middle of it."""
    load = make_load(cluster.binaries, cluster.conninfo(), options.scale, workspace.root)
    load.fill()
    stage.say(f"filled by {load.name} with scale {options.scale}: {_size_bytes(cluster) / 10**6:,.0f} MB")
    ledger = Ledger(cluster.conninfo())
    with ledger, load:
        stage.say(f"writing all the time from now on: {load.name}, about {TRANSACTIONS_PER_S} transactions a second,")
        stage.say("and a ledger whose every committed row the demo remembers")
        clock.sleep(_LOAD_BEFORE_S)

        stage.chapter("The first backup")
        stage.run([*_holdfast(workspace), "init"])
        stage.run([*_holdfast(workspace), "backup", "db"])

        stage.chapter("The second backup: whole like the first, and it stores only what is new")
        clock.sleep(_LOAD_BETWEEN_S)
        stage.run([*_holdfast(workspace), "backup", "db"])
        stage.run([*_holdfast(workspace), "snapshots"])
        clock.sleep(_LOAD_AFTER_S)
        cluster.stop(StopMode.IMMEDIATE)
    return ledger


def _prove(cluster: LocalCluster, ledger: Ledger, position: Lsn, stage: Stage) -> tuple[Proof, ...]:
    proofs = []
    for prove in (
        lambda: prove_ledger(ledger, cluster.conninfo(), position),
        lambda: prove_sums(cluster.conninfo()),
        lambda: prove_relations(cluster.binaries, cluster.conninfo()),
        lambda: _prove_pages_stopped(cluster),
    ):
        proofs.append(timed(prove))
        stage.show(proofs[-1])
    return tuple(proofs)


def _prove_pages_stopped(cluster: LocalCluster) -> Proof:
    cluster.stop()
    return prove_pages(cluster.binaries, cluster.data_directory)


def _last_backup_end(workspace: Workspace) -> Lsn:
    """Return where in the WAL the newest snapshot ends."""
    newest = list_snapshots(load_stack(workspace.stack_file), None, SnapshotFilter()).snapshots[-1]
    return Lsn.parse(from_facts(newest.facts, newest.object_name).stop_lsn)


def _holdfast(workspace: Workspace) -> list[str]:
    return ["-c", str(workspace.stack_file)]


def _size_bytes(cluster: LocalCluster) -> int:
    with connect(cluster.conninfo()) as connection, translated("asking for the size"):
        answer = connection.execute(_SIZE).fetchone()
    assert answer is not None
    return int(answer[0])
