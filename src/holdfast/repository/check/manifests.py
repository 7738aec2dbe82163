"""Walks the manifests: every chunk that a snapshot needs must be found, and every file must be described soundly.

Snapshots share most of their leaves, so each leaf and each list of extents is looked at once, whatever the number of
snapshots that name it. What a damage hits is gathered on the same walk.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from xxhash import xxh3_64_intdigest

from holdfast.errors import DamageError
from holdfast.repository.check.entries import contradictions
from holdfast.repository.check.extents import ExtentLists
from holdfast.repository.check.reading import SoundReader
from holdfast.repository.check.report import FILES_SHOWN, DamageKind
from holdfast.repository.manifest import Entry, Leaf, load_entries, load_leaves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.progress import Reporter
    from holdfast.repository.check.chunks import ChunkVerdicts
    from holdfast.repository.check.report import Findings
    from holdfast.repository.reader import ChunkReader
    from holdfast.repository.snapshot import Snapshot


@dataclass
class Hits:
    """What one damage hits: leaf numbers, whole snapshots, and paths (a sample, and hashes to count them by)."""

    leaves: set[int] = field(default_factory=set)
    roots: set[bytes] = field(default_factory=set)
    shown: list[bytes] = field(default_factory=list)
    paths: set[int] = field(default_factory=set)

    def add_path(self, path: bytes) -> None:
        """Count a path, once."""
        digest = xxh3_64_intdigest(path)
        if digest not in self.paths:
            self.paths.add(digest)
            if len(self.shown) < FILES_SHOWN:
                self.shown.append(path)


@dataclass
class WalkCounts:
    """What was walked; entries of leaves that snapshots share are counted once."""

    leaves: int = 0
    entries: int = 0


class ManifestWalk:
    """One walk over the manifests of all snapshots."""

    def __init__(self, reader: ChunkReader, verdicts: ChunkVerdicts, findings: Findings, reporter: Reporter) -> None:
        self._findings, self._reporter = findings, reporter
        self._chunks = SoundReader(reader, verdicts, findings)
        self._extents = ExtentLists(self._chunks, verdicts)
        self._hits: dict[int, Hits] = defaultdict(Hits)
        self._leaves: dict[bytes, int] = {}
        self._named: list[Leaf] = []
        self._leaves_of_root: dict[bytes, array[int]] = {}
        self._last_paths: dict[int, bytes] = {}
        self.counts = WalkCounts()

    def walk(self, snapshots: Sequence[Snapshot]) -> None:
        """Look at everything that the snapshots need; note damages and what they hit."""
        self._reporter.phase("checking the lists of files")
        self._read_roots(snapshots)
        for number, (_, content) in enumerate(self._chunks.read(list(self._leaves))):
            self._check_leaf(number, content)
        self._check_order(snapshots)
        for damage, hits in self._hits.items():
            self._findings.hit(damage, self._snapshots_hit(snapshots, hits), tuple(hits.shown), len(hits.paths))

    @property
    def extent_count(self) -> int:
        """How many distinct runs of files were looked up."""
        return self._extents.count

    def _read_roots(self, snapshots: Sequence[Snapshot]) -> None:
        roots = sorted({snapshot.manifest for snapshot in snapshots})
        names = {snapshot.manifest: snapshot.object_name for snapshot in snapshots}
        for root, content in self._chunks.read(roots):
            if isinstance(content, int):
                self._hits[content].roots.add(root)
                continue
            try:
                self._leaves_of_root[root] = array("L", map(self._number, load_leaves(content)))
            except DamageError as error:
                number = self._findings.add(DamageKind.MANIFEST, names[root], error.reason)
                self._hits[number].roots.add(root)

    def _check_order(self, snapshots: Sequence[Snapshot]) -> None:
        """Each leaf must end before the next begins: readers find a path by the first ones alone."""
        names = {snapshot.manifest: snapshot.object_name for snapshot in snapshots}
        for root, leaves in self._leaves_of_root.items():
            if any(self._last_paths.get(one, b"") >= self._named[other].first_path for one, other in pairwise(leaves)):
                number = self._findings.add(DamageKind.MANIFEST, names[root], "its list of files is out of order")
                self._hits[number].roots.add(root)

    def _number(self, leaf: Leaf) -> int:
        if leaf.chunk not in self._leaves:
            self._leaves[leaf.chunk] = len(self._leaves)
            self._named.append(leaf)
        return self._leaves[leaf.chunk]

    def _check_leaf(self, number: int, content: bytes | int) -> None:
        self.counts.leaves += 1
        if isinstance(content, int):
            self._hits[content].leaves.add(number)
            self._hits[content].add_path(self._named[number].first_path + b" (and what follows it in the list)")
            return
        try:
            entries = load_entries(content)
            _require_order(entries, self._named[number])
        except DamageError as error:
            self._contradiction(number, b"", error.reason)
            return
        self.counts.entries += len(entries)
        self._last_paths[number] = entries[-1].path
        for entry, reason in contradictions(entries):
            self._contradiction(number, entry.path, reason)
        for entry, fault in self._extents.check(entries):
            if isinstance(fault, int):
                self._hits[fault].leaves.add(number)
                self._hits[fault].add_path(entry.path)
            else:
                self._contradiction(number, entry.path, fault)

    def _contradiction(self, leaf: int, path: bytes, reason: str) -> None:
        damage = self._findings.add(DamageKind.MANIFEST, f"manifest leaf {self._named[leaf].chunk.hex()[:16]}", reason)
        self._hits[damage].leaves.add(leaf)
        self._hits[damage].add_path(path or self._named[leaf].first_path)

    def _snapshots_hit(self, snapshots: Sequence[Snapshot], hits: Hits) -> tuple:  # type: ignore[type-arg]
        leaves = np.fromiter(hits.leaves, dtype=np.uint64, count=len(hits.leaves))
        roots = hits.roots | {
            root for root, named in self._leaves_of_root.items() if np.isin(np.asarray(named), leaves).any()
        }
        return tuple(snapshot.id for snapshot in snapshots if snapshot.manifest in roots)


def _require_order(entries: Sequence[Entry], leaf: Leaf) -> None:
    paths = [entry.path for entry in entries]
    if not paths or paths[0] != leaf.first_path or len(paths) != leaf.entries:
        raise DamageError("manifest leaf", "it is not what the manifest's root says of it")
    if any(paths[at] >= paths[at + 1] for at in range(len(paths) - 1)):
        raise DamageError("manifest leaf", "its paths are out of order")
