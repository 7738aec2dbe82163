"""Backup and restore with a repository in a local directory, beside pgBackRest and a plain copy."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from benchmarks.measure import Figure, in_turn, ratio
from benchmarks.peers import Holdfast, HoldfastSetup, PgBackRest, copy_tree, emptied, tree_bytes
from holdfast.postgres.account import server_account

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.postgres.local import LocalCluster


def measure_local(directory: Path, cluster: LocalCluster, rounds: int) -> None:
    """Measure first backup, second backup, restore; print tables and ratios."""
    repo = directory / "holdfast-repo"
    ours = Holdfast(directory / "holdfast", cluster, HoldfastSetup("local", str(repo)))
    peer = PgBackRest(directory / "pgbackrest", cluster)

    first = in_turn(
        rounds,
        {
            "Holdfast, first backup, passphrase": (ours.empty, ours.backup),
            "Holdfast, first backup, writer credential": (ours.empty, lambda: ours.run_as_host("backup", "db")),
            "pgBackRest, full backup": (peer.empty, lambda: peer.backup("full")),
        },
    )
    stored = tree_bytes(repo) / peer.stored_bytes()
    second = in_turn(
        rounds,
        {
            "Holdfast, nothing changed, passphrase": (_nothing, ours.backup),
            "Holdfast, nothing changed, writer credential": (_nothing, lambda: ours.run_as_host("backup", "db")),
            "pgBackRest, incremental, nothing changed": (_nothing, lambda: peer.backup("incr")),
        },
    )
    target, copied = directory / "restored", directory / "copied"
    account = server_account(cluster.data_directory)
    restored = in_turn(
        rounds,
        {
            "Holdfast, restore": (lambda: _absent(target), lambda: ours.restore(target)),
            "pgBackRest, restore": (lambda: emptied(target, account), lambda: peer.restore(target)),
            "cp -r and sync": (lambda: _absent(copied), lambda: copy_tree(cluster.data_directory / "base", copied)),
        },
    )
    _absent(target)
    _absent(copied)
    _print([*first.values(), *second.values(), *restored.values()])
    for name, figures in (("first backup", first), ("nothing changed", second)):
        print(
            f"{name}, faster than pgBackRest: {_ratio(figures, 2, 0):.2f}x (passphrase), {_ratio(figures, 2, 1):.2f}x"
        )
    print(f"stored bytes, against pgBackRest: {stored:.3f}x")
    print(f"restore: {_ratio(restored, 1, 0):.2f}x against pgBackRest, {_ratio(restored, 2, 0):.2f}x against a copy")


def _ratio(figures: dict[str, Figure], slow: int, fast: int) -> float:
    values = list(figures.values())
    return ratio(values[slow], values[fast])


def _print(figures: list[Figure]) -> None:
    print("\n| what | wall, median s | spread | CPU s | peak MiB |\n| --- | --- | --- | --- | --- |")
    for figure in figures:
        print(figure.row())


def _absent(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def _nothing() -> None:
    """Prepare nothing."""
