"""Backups of a cluster that was worked on a little (20,000 TPC-B transactions), beside block incremental pgBackRest."""

from __future__ import annotations

import statistics
import subprocess
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg
import zstandard

from benchmarks.measure import Figure, Run, in_turn, ratio
from benchmarks.peers import Holdfast, HoldfastSetup, PgBackRest, tree_bytes
from holdfast.postgres.datadir import FileKind, classify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from holdfast.postgres.local import LocalCluster

TRANSACTIONS = 20_000
_PAGE, _BLOCK = 8192, 1 << 20


@dataclass
class Work:
    """Runs TPC-B; knows which pages it changed, and what they are compressed at zstd 3."""

    cluster: LocalCluster
    transactions: int = TRANSACTIONS
    pages: dict[str, array[int]] = field(default_factory=dict)
    changed_bytes: list[int] = field(default_factory=list)
    packed_bytes: list[int] = field(default_factory=list)

    def run(self) -> None:
        """Run the transactions, and leave nothing but what is on disk to be done."""
        pgbench = self.cluster.binaries.program("pgbench")
        arguments = ["-n", "-c", "8", "-j", "2", "-t", str(self.transactions // 8), self.cluster.conninfo()]
        subprocess.run([pgbench, *arguments], check=True, capture_output=True)
        with psycopg.connect(self.cluster.conninfo(), autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        changed = packed = 0
        for path in self.cluster.data_directory.rglob("*"):
            name = path.relative_to(self.cluster.data_directory).as_posix()
            if path.is_file() and classify(name.encode()).kind in {FileKind.RELATION, FileKind.SLRU}:
                known, self.pages[name] = self.pages.get(name, array("Q")), array("Q")
                with path.open("rb") as file:
                    for content in iter(lambda: file.read(_BLOCK), b""):
                        new = self._new_pages(name, content, known)
                        changed += len(new)
                        packed += len(zstandard.ZstdCompressor(level=3).compress(new)) if new else 0
        self.changed_bytes.append(changed)
        self.packed_bytes.append(packed)

    def _new_pages(self, name: str, content: bytes, known: array[int]) -> bytes:
        """Return the pages of a block that are not as they were at the last look."""
        from xxhash import xxh3_64_intdigest

        first = len(self.pages[name])
        pages = [content[at : at + _PAGE] for at in range(0, len(content), _PAGE)]
        hashes = [xxh3_64_intdigest(page) for page in pages]
        self.pages[name].extend(hashes)
        before = known[first : first + len(hashes)].tolist()
        before += [-1] * (len(hashes) - len(before))
        return b"".join(page for page, now, then in zip(pages, hashes, before, strict=True) if now != then)


def measure_incremental(directory: Path, cluster: LocalCluster, rounds: int) -> None:
    """Measure backups after 20,000 transactions since a first one, and after none; print tables and ratios."""
    ours, host = _holdfast(directory, cluster, "incremental"), _holdfast(directory, cluster, "incremental-host")
    peer = PgBackRest(directory / "pgbackrest-incremental", cluster, options="beta=y\nrepo1-block=y\n")
    work, stored = Work(cluster), list[int]()
    work.run()

    def begin_anew() -> None:
        for each in (ours, host, peer):
            each.empty()
        ours.backup()
        host.run_as_host("backup", "db")
        peer.backup("full")
        work.run()

    def counted(backup: Callable[[], Run]) -> Run:
        before = tree_bytes(directory / "incremental-repo")
        measured = backup()
        stored.append(tree_bytes(directory / "incremental-repo") - before)
        return measured

    changed = in_turn(
        rounds,
        {
            "Holdfast, after 20,000 transactions, passphrase": (begin_anew, lambda: counted(ours.backup)),
            "Holdfast, the same, writer credential": (_nothing, lambda: host.run_as_host("backup", "db")),
            "pgBackRest, block incremental": (_nothing, lambda: peer.backup("incr")),
        },
    )
    quiet = in_turn(
        rounds,
        {
            "Holdfast, nothing changed, passphrase": (_nothing, ours.backup),
            "Holdfast, nothing changed, writer credential": (_nothing, lambda: host.run_as_host("backup", "db")),
            "pgBackRest, nothing changed": (_nothing, lambda: peer.backup("incr")),
        },
    )
    _print([*changed.values(), *quiet.values()])
    with_passphrase, with_credential, peer_figure = changed.values()
    print(
        f"after {TRANSACTIONS:,} transactions, faster than pgBackRest: {ratio(peer_figure, with_passphrase):.2f}x "
        f"(passphrase), {ratio(peer_figure, with_credential):.2f}x"
    )
    for size, packed, cost in zip(work.changed_bytes[2:], work.packed_bytes[2:], stored[1:], strict=True):
        print(f"changed {size >> 20} MiB, at zstd 3 {packed / 1e6:.1f} MB; stored {cost / 1e6:.1f} MB")
    shares = [cost / packed for cost, packed in zip(stored[1:], work.packed_bytes[2:], strict=True)]
    print(f"stored, against the changed pages at zstd 3: {statistics.median(shares):.3f}x")


def _holdfast(directory: Path, cluster: LocalCluster, name: str) -> Holdfast:
    """Return a repository of its own."""
    return Holdfast(directory / name, cluster, HoldfastSetup(name, str(directory / f"{name}-repo")))


def _print(figures: list[Figure]) -> None:
    print("\n| what | wall, median s | spread | CPU s | peak MiB |\n| --- | --- | --- | --- | --- |")
    for figure in figures:
        print(figure.row())


def _nothing() -> None:
    """Prepare nothing."""
