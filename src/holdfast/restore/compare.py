"""Comparing a copy, or what a broken-off restore had written, with a snapshot: what is on disk is hashed.

Only what has the fingerprint of its chunk stays. Sizes and times are not believed: a torn, lost or misdirected write
changes neither. A fingerprint finds any damage, in half the time of a whole chunk id; whoever suspects tampering
restores to a new directory. A chunk is recognized in one of two ways. In its *natural place* the whole chunk lies in
one run of a file, be all of it wanted there or only parts. *In pieces* it lies scattered over files, as small files
share chunks; then the pieces must cover the chunk. What is not recognized is taken to differ; when it is fetched, a
delta restore writes only the blocks that really do.
"""

from __future__ import annotations

import mmap
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from holdfast.repository.crew import Crew
from holdfast.repository.frames import CHUNK_LIMIT_BYTES
from holdfast.restore.on_disk import CopyReader, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.progress import Reporter
    from holdfast.repository.keys import Keys
    from holdfast.repository.reader import ChunkReader
    from holdfast.restore.plan import RestorePlan

_STRETCH_BYTES = 16 << 20
"""Of a file, what is looked at in one go; and what makes a job: a thread should read on where it is."""


class _Candidates(NamedTuple):
    """Runs that may be chunks: for each its fingerprint, and its runs, back to back.

    ``wants`` are the positions of the wants that are there if it is the chunk, those of one candidate after those of
    another; candidate n's begin at ``firsts[n]``, and there is one more of these. ``stretches`` are candidates, by
    their numbers, that follow each other in a file.
    """

    fingerprints: list[int]
    runs: list[list[Run]]
    wants: np.ndarray
    firsts: np.ndarray
    stretches: list[range]


def differing_wants(plan: RestorePlan, reader: ChunkReader, keys: Keys, reporter: Reporter, threads: int) -> np.ndarray:
    """Return the part of the plan's wants that is not recognized on disk."""
    differs = np.ones(len(plan.wants), dtype=bool)
    for find in (_in_natural_places, _in_pieces):
        candidates = find(plan.wants, np.flatnonzero(differs), reader)
        comparison = _Comparison(plan, candidates, keys, reporter)
        Crew("compare", threads, comparison.worker).work_off(comparison.jobs())
        differs[comparison.recognized_wants()] = False
    return plan.wants[differs]


class _Comparison:
    """Hashes candidates in several threads; each notes what it recognized in a place of its own."""

    def __init__(self, plan: RestorePlan, candidates: _Candidates, keys: Keys, reporter: Reporter) -> None:
        self._plan, self._candidates, self._keys, self._reporter = plan, candidates, keys, reporter
        self._is_recognized = bytearray(len(candidates.runs))

    def jobs(self) -> Iterator[list[range]]:
        """Yield stretches, as many as a thread should look at."""
        job: list[range] = []
        left = _STRETCH_BYTES
        for stretch in self._candidates.stretches:
            job.append(stretch)
            left -= sum(run.length for runs in self._candidates.runs[stretch.start : stretch.stop] for run in runs)
            if left <= 0:
                yield job
                job, left = [], _STRETCH_BYTES
        if job:
            yield job

    @contextmanager
    def worker(self) -> Iterator[Callable[[list[range]], None]]:
        wants, firsts = self._candidates.wants, self._candidates.firsts
        with CopyReader(self._plan, memoryview(mmap.mmap(-1, CHUNK_LIMIT_BYTES))) as files:

            def compare(job: list[range]) -> None:
                for stretch in job:
                    self._compare(stretch, files)
                looked_at = wants[firsts[job[0].start] : firsts[job[-1].stop]]
                self._reporter.advance(int(self._plan.wants["length"][looked_at].sum()))

            yield compare

    def _compare(self, stretch: range, files: CopyReader) -> None:
        """Look at candidates where they lie in memory, else read them one by one."""
        runs, fingerprints = self._candidates.runs, self._candidates.fingerprints
        (file, start, _), (_, offset, length) = runs[stretch[0]][0], runs[stretch[-1]][-1]
        cached = files.cached(Run(file, start, offset + length - start)) if len(runs[stretch[0]]) == 1 else None
        for number in stretch:
            if cached is None:
                content = files.content(runs[number])
            else:
                (_, offset, length), *_ = runs[number]
                content = cached[offset - start : offset - start + length]
            if content is not None and self._keys.fingerprint(content) == fingerprints[number]:
                self._is_recognized[number] = True

    def recognized_wants(self) -> np.ndarray:
        """Return the positions of the wants that were found to be there."""
        is_recognized = np.frombuffer(self._is_recognized, dtype=bool)
        found: np.ndarray = self._candidates.wants[np.repeat(is_recognized, np.diff(self._candidates.firsts))]
        return found


def _in_natural_places(wants: np.ndarray, open_: np.ndarray, reader: ChunkReader) -> _Candidates:
    """Return each chunk as one run of a file, in the order of files and offsets."""
    wanted = wants[open_]
    base = wanted["file_offset"].astype(np.int64) - wanted["chunk_offset"].astype(np.int64)
    order = np.lexsort((wanted["row"], base, wanted["file"]))
    order = order[base[order] >= 0]
    keys = np.stack((wanted["file"][order].astype(np.int64), base[order], wanted["row"][order]), axis=1)
    firsts = _groups(keys)
    rows = keys[firsts[:-1], 2]
    places = np.column_stack((keys[firsts[:-1], :2], reader.index.plain[rows]))
    runs = [[Run(*place)] for place in places.tolist()]
    return _Candidates(reader.index.fingerprints_at(rows), runs, open_[order], firsts, _stretches(places))


def _stretches(places: np.ndarray) -> list[range]:
    """Return the numbers of places (file, offset, length), those together that follow each other in a file.

    A stretch does not go on over a multiple of _STRETCH_BYTES.
    """
    file, offset, length = places.T
    is_next = (file[1:] == file[:-1]) & (offset[1:] == offset[:-1] + length[:-1])
    is_next &= offset[1:] // _STRETCH_BYTES == offset[:-1] // _STRETCH_BYTES
    bounds = [0, *(np.flatnonzero(~is_next) + 1).tolist(), len(places)] if len(places) else []
    return [range(first, after) for first, after in pairwise(bounds)]


def _in_pieces(wants: np.ndarray, open_: np.ndarray, reader: ChunkReader) -> _Candidates:
    """Return each chunk as the pieces of it that are wanted, where these cover it.

    One piece that is the whole chunk is in its natural place, and was looked at there.
    A chunk that is wanted several times over has as many sets of pieces: the nth of each piece, by the file's number.
    """
    wanted = wants[open_]
    order = np.lexsort((wanted["file_offset"], wanted["file"], wanted["chunk_offset"], wanted["row"]))
    same_piece = _groups(np.stack((wanted["row"][order], wanted["chunk_offset"][order].astype(np.int64)), axis=1))
    nth = np.arange(len(order)) - np.repeat(same_piece[:-1], np.diff(same_piece))
    by_nth = np.lexsort((wanted["chunk_offset"][order], nth, wanted["row"][order]))
    by_set, nth = order[by_nth], nth[by_nth]
    groups = _groups(np.stack((wanted["row"][by_set], nth), axis=1))
    sets = [
        pieces
        for pieces in (np.split(by_set, groups[1:-1]) if len(by_set) else [])
        if len(pieces) > 1 and _covers(wanted[pieces], int(reader.index.plain[wanted["row"][pieces[0]]]))
    ]
    rows = wanted["row"][np.array([pieces[0] for pieces in sets], dtype=np.int64)]
    runs = [[Run(*run) for run in wanted[pieces][["file", "file_offset", "length"]].tolist()] for pieces in sets]
    firsts = np.cumsum([0, *(len(pieces) for pieces in sets)])
    alone = [range(number, number + 1) for number in range(len(sets))]
    positions = open_[np.concatenate([by_set[:0], *sets])]
    return _Candidates(reader.index.fingerprints_at(rows), runs, positions, firsts, alone)


def _covers(pieces: np.ndarray, plain: int) -> bool:
    """Whether pieces, by their offset in the chunk, make up the whole of it."""
    ends = pieces["chunk_offset"].astype(np.int64) + pieces["length"]
    return bool(
        pieces["chunk_offset"][0] == 0 and ends[-1] == plain and (pieces["chunk_offset"][1:] == ends[:-1]).all()
    )


def _groups(keys: np.ndarray) -> np.ndarray:
    """Return where equal rows begin, and the end: n + 1 positions for n groups of sorted keys."""
    if not len(keys):
        return np.zeros(1, dtype=np.int64)
    return np.concatenate(([0], np.flatnonzero((keys[1:] != keys[:-1]).any(axis=1)) + 1, [len(keys)]))
