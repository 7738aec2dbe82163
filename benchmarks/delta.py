"""A delta restore of a copy of which one hundredth has changed, beside a full restore of the same snapshot.

Two ways to change a hundredth: one run of the largest tables' pages, as a load of new rows does; and single pages all
over them, the worst case, where most chunks of 1 MiB hold a changed page.
"""

from __future__ import annotations

import os
import random
import shutil
from typing import TYPE_CHECKING

from benchmarks.measure import in_turn, ratio
from benchmarks.peers import Holdfast, HoldfastSetup

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.measure import Run
    from holdfast.postgres.local import LocalCluster

_PAGE = 8192
_PART = 0.01


def measure_delta(directory: Path, cluster: LocalCluster, rounds: int) -> None:
    """Measure both against a full restore; print a table and the ratios."""
    repo = directory / "holdfast-delta-repo"
    ours = Holdfast(directory / "holdfast-delta", cluster, HoldfastSetup("delta", str(repo)))
    ours.empty()
    ours.backup()
    target, copy = directory / "restored", directory / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    ours.restore(copy)
    relations = _relations(copy)

    def delta() -> Run:
        return ours.run("restore", "db", "--target", str(copy), "--delta")

    def delta_by_identity() -> Run:
        return ours.run_as_owner("restore", "db", "--target", str(copy), "--delta")

    def empty_target() -> None:
        shutil.rmtree(target, ignore_errors=True)

    full, full_by_identity, together, together_by_identity, scattered, same = in_turn(
        rounds,
        {
            "full restore": (empty_target, lambda: ours.restore(target)),
            "full restore, recovery identity": (
                empty_target,
                lambda: ours.run_as_owner("restore", "db", "--target", str(target)),
            ),
            "delta, 1 % changed in one run": (lambda: _change_together(relations), delta),
            "the same, recovery identity": (lambda: _change_together(relations), delta_by_identity),
            "delta, 1 % changed, single pages": (lambda: _change_scattered(relations), delta),
            "delta, nothing changed": (lambda: _warm(relations), delta),
        },
    ).values()
    for path in (target, copy, repo):
        shutil.rmtree(path, ignore_errors=True)
    print("\n| what | wall, median s | spread | CPU s | peak MiB |\n| --- | --- | --- | --- | --- |")
    for figure in (full, full_by_identity, together, together_by_identity, scattered, same):
        print(figure.row())
    for whole, figure in ((full, together), (full_by_identity, together_by_identity), (full, scattered), (full, same)):
        print(f"{figure.name}: {ratio(whole, figure):.2f}x faster than '{whole.name}'")


def _relations(copy: Path) -> list[Path]:
    return sorted(path for path in (copy / "base").rglob("*") if path.is_file() and path.stat().st_size >= 64 << 20)


def _change_together(relations: list[Path]) -> None:
    """Write over one hundredth of each large file, in one run; and have all of it in the page cache."""
    for path in relations:
        length = int(path.stat().st_size * _PART) // _PAGE * _PAGE
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2 // _PAGE * _PAGE)
            file.write(os.urandom(length))
    _warm(relations)


def _change_scattered(relations: list[Path]) -> None:
    """Write over single pages of each large file, one hundredth of them."""
    rng = random.Random(1)
    for path in relations:
        pages = path.stat().st_size // _PAGE
        with path.open("r+b") as file:
            for page in rng.sample(range(pages), int(pages * _PART)):
                file.seek(page * _PAGE)
                file.write(os.urandom(_PAGE))
    _warm(relations)


def _warm(relations: list[Path]) -> None:
    """Read everything once, and let what was changed reach the disk: neither is a part of the restore."""
    os.sync()
    for path in relations:
        with path.open("rb", buffering=0) as file:
            while file.read(16 << 20):
                pass
