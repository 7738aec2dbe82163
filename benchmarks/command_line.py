"""The command line's own costs: the help page, and listing a repository of a thousand snapshots."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from benchmarks.measure import in_turn, run_once
from benchmarks.peers import Holdfast, HoldfastSetup
from holdfast.model import new_object_id
from holdfast.repository.cache import ObjectCache
from holdfast.repository.opening import open_repository
from holdfast.repository.snapshot import encode_snapshot
from holdfast.repository.unlock import Passphrase
from holdfast.storage.files import FilesStorage

if TYPE_CHECKING:
    from holdfast.postgres.local import LocalCluster

_SNAPSHOTS = 1000


def measure_command_line(directory: Path, cluster: LocalCluster, rounds: int) -> None:
    """Measure ``--help`` and ``snapshots``; print them beside a bare Python."""
    repo = directory / "many-snapshots"
    ours = Holdfast(directory / "holdfast-many", cluster, HoldfastSetup("many", str(repo)))
    ours.empty()
    ours.backup()
    _multiply(repo, directory)
    program = str(Path(sys.executable).with_name("holdfast"))
    figures = in_turn(
        rounds * 2,
        {
            "python -c pass": (_nothing, lambda: run_once([sys.executable, "-c", "pass"])),
            "holdfast --help": (_nothing, lambda: run_once([program, "--help"])),
            f"holdfast snapshots, {_SNAPSHOTS} of them, passphrase": (_nothing, lambda: ours.run("snapshots")),
            f"holdfast snapshots, {_SNAPSHOTS} of them, credential": (_nothing, lambda: ours.run_as_host("snapshots")),
        },
    )
    print(
        "\n| what | wall, median s | CPU s |\n| --- | --- | --- |"
    )  # memory would be that of this process, at the fork
    for figure in figures.values():
        print(f"| {figure.name} | {figure.wall_s:.2f} | {figure.cpu_s:.2f} |")
    shutil.rmtree(repo)


def _multiply(repo: Path, directory: Path) -> None:
    """Store the one snapshot a thousand times under new ids, as a thousand backups of an unchanged cluster would."""
    storage = FilesStorage(str(repo))
    repository = open_repository(storage, Passphrase(b"benchmark only"), lambda name: ObjectCache(directory, name))
    snapshot = repository.snapshots()[-1]
    for _ in range(_SNAPSHOTS - 1):
        copy = msgspec.structs.replace(snapshot, id=new_object_id())
        storage.put(copy.object_name, encode_snapshot(repository.keys, copy))


def _nothing() -> None:
    """Prepare nothing."""
