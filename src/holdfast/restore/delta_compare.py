"""Comparing a copy with a snapshot: what is on disk is hashed, and only what has the fingerprint of its chunk stays.

Sizes and times are not believed: a torn, lost or misdirected write changes neither. A fingerprint finds any damage, in
half the time of a whole chunk id; whoever suspects tampering restores to a new directory. A chunk is recognized in one
of two ways. In its *natural place* the whole chunk lies in one run of a file, be all of it wanted there or only parts.
*In pieces* it lies scattered over files, as small files share chunks; then the pieces must cover the chunk. What is not
recognized is taken to differ; when it is fetched, only the blocks that really do are written.
"""

from __future__ import annotations

import mmap
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from holdfast.repository.crew import Crew
from holdfast.repository.frames import CHUNK_LIMIT_BYTES
from holdfast.restore.delta_read import CopyReader, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.progress import Reporter
    from holdfast.repository.keys import Keys
    from holdfast.repository.reader import ChunkReader
    from holdfast.restore.plan import RestorePlan

_JOB_BYTES = 16 << 20


class _Candidate(NamedTuple):
    """Runs that may be a chunk, back to back; ``wants`` are the positions of the wants that are there, if they are."""

    fingerprint: int
    runs: list[Run]
    wants: np.ndarray


def differing_wants(plan: RestorePlan, reader: ChunkReader, keys: Keys, reporter: Reporter, threads: int) -> np.ndarray:
    """Return the part of the plan's wants that is not recognized on disk."""
    is_there = np.zeros(len(plan.wants), dtype=bool)
    comparison = _Comparison(plan, keys, reporter, is_there)
    for candidates in (_in_natural_places, _in_pieces):
        jobs = candidates(plan.wants, np.flatnonzero(~is_there), reader)
        Crew("compare", threads, comparison.worker).work_off(jobs)
    return plan.wants[~is_there]


class _Comparison:
    """Hashes candidates in several threads; each marks wants of its own, so there is nothing to lock."""

    def __init__(self, plan: RestorePlan, keys: Keys, reporter: Reporter, is_there: np.ndarray) -> None:
        self._plan, self._keys, self._reporter, self._is_there = plan, keys, reporter, is_there

    @contextmanager
    def worker(self) -> Iterator[Callable[[list[_Candidate]], None]]:
        with CopyReader(self._plan, memoryview(mmap.mmap(-1, CHUNK_LIMIT_BYTES))) as files:

            def compare(job: list[_Candidate]) -> None:
                for candidate in job:
                    content = files.content(candidate.runs)
                    if content is not None and self._keys.fingerprint(content) == candidate.fingerprint:
                        self._is_there[candidate.wants] = True
                looked_at = np.concatenate([candidate.wants for candidate in job])
                self._reporter.advance(int(self._plan.wants["length"][looked_at].sum()))

            yield compare


def _in_natural_places(wants: np.ndarray, open_: np.ndarray, reader: ChunkReader) -> Iterator[list[_Candidate]]:
    """Yield jobs: each chunk as one run of a file, in the order of files and offsets."""
    wanted = wants[open_]
    base = wanted["file_offset"].astype(np.int64) - wanted["chunk_offset"].astype(np.int64)
    plain = reader.index.plain[wanted["row"]].astype(np.int64)
    order = np.lexsort((wanted["row"], base, wanted["file"]))
    order = order[base[order] >= 0]
    keys = np.stack((wanted["file"][order].astype(np.int64), base[order], wanted["row"][order]), axis=1)
    groups = _groups(keys)
    firsts, afters = groups[:-1], groups[1:]
    fingerprints = reader.index.fingerprints_at(keys[firsts, 2])
    runs = np.column_stack((keys[firsts, :2], plain[order[firsts]])).tolist()
    wants_in_order = open_[order]
    candidates = (
        _Candidate(fingerprint, [Run(*run)], wants_in_order[first:after])
        for fingerprint, run, first, after in zip(fingerprints, runs, firsts.tolist(), afters.tolist(), strict=True)
    )
    return _jobs(candidates)


def _in_pieces(wants: np.ndarray, open_: np.ndarray, reader: ChunkReader) -> Iterator[list[_Candidate]]:
    """Yield jobs: each chunk as the pieces of it that are wanted, where these cover it.

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
    fingerprints = reader.index.fingerprints_at(wanted["row"][by_set[groups[:-1]]])
    candidates = (
        _Candidate(
            fingerprints[number],
            [Run(*run) for run in wanted[pieces][["file", "file_offset", "length"]].tolist()],
            open_[pieces],
        )
        for number, pieces in enumerate(np.split(by_set, groups[1:-1]) if len(by_set) else [])
        if len(pieces) > 1 and _covers(wanted[pieces], int(reader.index.plain[wanted["row"][pieces[0]]]))
    )
    return _jobs(candidates)


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


def _jobs(candidates: Iterator[_Candidate]) -> Iterator[list[_Candidate]]:
    """Gather candidates: a thread should read on where it is."""
    job: list[_Candidate] = []
    size = 0
    for candidate in candidates:
        job.append(candidate)
        size += sum(run.length for run in candidate.runs)
        if size >= _JOB_BYTES:
            yield job
            job, size = [], 0
    if job:
        yield job
