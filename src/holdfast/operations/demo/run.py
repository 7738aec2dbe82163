"""The demo's recipe: a cluster under load, backups, its destruction, its recovery, a mistake undone, and the proofs."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import ServerError, VerificationError
from holdfast.operations.demo.interruption import interruptions_held_back, one_interruption_at_most
from holdfast.operations.demo.ledger import Ledger
from holdfast.operations.demo.load import BYTES_PER_SCALE, TRANSACTIONS_PER_S, make_load
from holdfast.operations.demo.mistake import make_mistake, prove_returned, prove_undone
from holdfast.operations.demo.proofs import prove_ledger, prove_pages, prove_relations, prove_sums, timed
from holdfast.operations.demo.receiver import ReceiverProcess
from holdfast.operations.demo.stage import Verdict
from holdfast.operations.demo.workspace import open_workspace
from holdfast.postgres.account import server_account
from holdfast.postgres.binaries import list_binaries
from holdfast.postgres.connection import connect, translated
from holdfast.postgres.initdb import ClusterOptions, create_cluster
from holdfast.postgres.local import LocalCluster, StopMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}
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
        with _cluster(binaries, workspace) as cluster, ReceiverProcess(workspace, stage) as receiver:
            workspace.write_stack_file(cluster)
            scene = _Scene(cluster, receiver, workspace, stage)
            ledger = _back_up_under_load(scene, options)
            _destroy(scene, ledger)
            _recover(scene)
            proofs = _prove(scene, ledger)
            proofs += _undo_a_mistake(scene)
            receiver.stop()
        stage.run([*_holdfast(workspace), "check", "--read-data"])
    if any(proof.verdict is Verdict.FAILED for proof in proofs):
        raise VerificationError("what came back is not what was there: see above", hint="please report this")
    return DemoReport(tuple(proofs), workspace.root if options.is_kept else None, clock.monotonic() - began)


@dataclass(frozen=True, slots=True)
class _Scene:
    """What every part of the demo works with."""

    cluster: LocalCluster
    receiver: ReceiverProcess
    workspace: Workspace
    stage: Stage

    def run(self, *arguments: str) -> None:
        self.stage.run([*_holdfast(self.workspace), *arguments])

    def prove(self, *proofs: Callable[[], Proof]) -> list[Proof]:
        shown = []
        for prove in proofs:
            shown.append(timed(prove))
            self.stage.show(shown[-1])
        return shown


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


def _back_up_under_load(scene: _Scene, options: DemoOptions) -> Ledger:
    """Run two backups while the cluster is written to and its WAL received; then kill the server in the middle."""
    cluster, stage = scene.cluster, scene.stage
    load = make_load(cluster.binaries, cluster.conninfo(), options.scale, scene.workspace.root)
    load.fill()
    stage.say(f"filled by {load.name} with scale {options.scale}: {_size_bytes(cluster) / 10**6:,.0f} MB")
    ledger = Ledger(cluster.conninfo())
    with ledger, load:
        stage.say(f"writing all the time from now on: {load.name}, about {TRANSACTIONS_PER_S} transactions a second,")
        stage.say("and a ledger whose every committed row the demo remembers")
        clock.sleep(_LOAD_BEFORE_S)

        stage.chapter("The first backup, and WAL from now on: a commit is acknowledged when the repository has it")
        scene.run("init")
        scene.run("backup", "db")
        scene.receiver.start()
        scene.receiver.wait_until_synchronous(cluster.conninfo())

        stage.chapter("The second backup: whole like the first, and it stores only what is new")
        clock.sleep(_LOAD_BETWEEN_S)
        scene.run("backup", "db")
        scene.run("snapshots")
        clock.sleep(_LOAD_AFTER_S)
        cluster.stop(StopMode.IMMEDIATE)
    return ledger


def _destroy(scene: _Scene, ledger: Ledger) -> None:
    scene.stage.chapter("The disaster")
    scene.receiver.stop()
    shutil.rmtree(scene.workspace.data_directory)
    scene.stage.say(f"the server is killed, and {scene.workspace.data_directory} is gone")
    scene.stage.say(f"{ledger.committed:,} ledger rows were committed, most of them after the last backup")


def _recover(scene: _Scene) -> None:
    """Restore and recover to the last byte; then the cluster takes the place of the one that is gone."""
    scene.stage.chapter("The recovery, to the last committed transaction")
    scene.run("restore", "db", "--target", str(scene.workspace.data_directory), "--to", "latest")
    _start(scene.cluster)
    scene.run("wal", "adopt", "db", "--apply")
    with interruptions_held_back():
        scene.cluster.restart()
    scene.receiver.start()
    scene.receiver.wait_until_synchronous(scene.cluster.conninfo())


def _prove(scene: _Scene, ledger: Ledger) -> list[Proof]:
    cluster = scene.cluster
    scene.stage.chapter("The proof")
    return scene.prove(
        lambda: prove_ledger(ledger, cluster.conninfo()),
        lambda: prove_sums(cluster.conninfo()),
        lambda: prove_relations(cluster.binaries, cluster.conninfo()),
    )


def _undo_a_mistake(scene: _Scene) -> list[Proof]:
    """Drop a table, bring it back in place, and show that this can be undone; the server is stopped in the end."""
    cluster, stage = scene.cluster, scene.stage
    conninfo = cluster.conninfo()
    stage.chapter("The mistake: a table is dropped, and work goes on")
    mistake = make_mistake(conninfo)
    stage.say(f"DROP TABLE invoices, a second after {mistake.before:%Y-%m-%d %H:%M:%S %Z}")

    stage.chapter("Back to the second before it, in place")
    cluster.stop()
    with _started_by_pg_ctl(cluster):
        scene.run("restore", "db", "--to", mistake.before.isoformat(sep=" ", timespec="milliseconds"), "--yes")
        proofs = scene.prove(lambda: prove_returned(mistake, conninfo))
        scene.run("restore", "db", "--undo", "--yes")
        proofs += scene.prove(lambda: prove_undone(conninfo))
        scene.run("restore", "db", "--undo", "--yes")
        proofs += scene.prove(lambda: prove_returned(mistake, conninfo))
        scene.run("wal", "status", "db")
    return proofs + scene.prove(lambda: prove_pages(cluster.binaries, cluster.data_directory))


@contextmanager
def _started_by_pg_ctl(cluster: LocalCluster) -> Iterator[None]:
    """Run the server as the stack file says that it is run: by pg_ctl, which is how a restore in place starts it."""
    pg_ctl = [str(cluster.binaries.program("pg_ctl")), "-D", str(cluster.data_directory), "-s", "-w"]
    options = ["-l", str(cluster.log_for_others), "-o", shlex.join(cluster.options)]
    account = server_account(cluster.data_directory)

    def run(*arguments: str) -> None:
        with interruptions_held_back():
            subprocess.run([*pg_ctl, *arguments], check=False, cwd="/", env=_ENVIRONMENT, **account.child_identity())

    try:
        run(*options, "start")
        yield
    finally:
        run("-m", "fast", "stop")


def _holdfast(workspace: Workspace) -> list[str]:
    return ["-c", str(workspace.stack_file)]


def _size_bytes(cluster: LocalCluster) -> int:
    with connect(cluster.conninfo()) as connection, translated("asking for the size"):
        answer = connection.execute(_SIZE).fetchone()
    assert answer is not None
    return int(answer[0])
