"""Compression is chosen by measuring: for each large file, or class of small ones, on the very chunks that are stored.

Every ``_PROBE_EVERY``th chunk is compressed at each candidate level. A dearer level is taken where it saves
``_WORTH_BYTES_S`` for each second of CPU that it costs more; none is, where the content does not shrink. Tables and
indexes differ so much in this that one level for all of them is wrong for most.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import zstandard

from holdfast import clock
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.storage.base import Buffer

_PROBE_EVERY = 128
_WORTH_BYTES_S = 50 << 20
"""What a repository far away takes in a second; for less than that, sending is quicker than compressing."""
_SHRINKS = 0.97
_CANDIDATES = (-1, 1, 3)
_CANDIDATES_FOR_PAGES = (3,)  # a sixth smaller than level 1, for a tenth of a second in 250 MB
_STORE = 0
_LEVEL_LIMIT = 19


class ContentClass(StrEnum):
    """Kinds of content that are likely to compress alike."""

    RELATION = "relation"
    PAGES = "pages"
    """Changed pages gathered from all over a relation: little, and kept for long."""
    WAL = "wal"
    FILE = "file"
    METADATA = "metadata"


class LevelPolicy(Protocol):
    """Says how one chunk is compressed."""

    def compress(self, content_class: ContentClass, plain: Buffer, file: bytes = b"") -> bytes | None:
        """Return the compressed chunk, or None to store it as it is. Called by many threads.

        ``file``: which large file it is from.
        """
        ...


class _Compressors(threading.local):
    """One zstd context per thread and level: contexts are dear to make and not to be shared."""

    def __init__(self) -> None:
        self._by_level: dict[int, zstandard.ZstdCompressor] = {}

    def compress(self, level: int, plain: Buffer) -> bytes:
        if level not in self._by_level:
            self._by_level[level] = zstandard.ZstdCompressor(level=level)
        return self._by_level[level].compress(plain)

    def measure(self, level: int, plain: Buffer) -> tuple[bytes, float]:
        """Return the compressed chunk, and what it took of the CPU; the memory of a new context is not counted."""
        if level not in self._by_level:
            self.compress(level, plain)
        began = clock.thread_cpu_s()
        packed = self.compress(level, plain)
        return packed, clock.thread_cpu_s() - began


class FixedLevel:
    """``zstd-N``: this level for everything; ``none``: level 0, nothing is compressed."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._compressors = _Compressors()

    def compress(
        self,
        content_class: ContentClass,  # noqa: ARG002 - the interface
        plain: Buffer,
        file: bytes = b"",  # noqa: ARG002 - the interface
    ) -> bytes | None:
        """Return the compressed chunk where it shrinks."""
        return _if_smaller(self._compressors.compress(self._level, plain), plain) if self._level else None


@dataclass
class _Cost:
    """What the samples take at one level: bytes, and seconds of CPU."""

    size: int = 0
    cpu_s: float = 0.0


@dataclass
class _Group:
    """What is compressed alike. ``costs`` are by level, in the order of the candidates."""

    costs: dict[int, _Cost]
    level: int
    seen: int = 0
    plain_bytes: int = 0


class MeasuredLevel:
    """``auto``: what the samples of each large file, and of each class of small ones, recommend."""

    def __init__(self) -> None:
        self._compressors = _Compressors()
        self._groups: dict[tuple[ContentClass, bytes], _Group] = {}
        self._lock = threading.Lock()

    def compress(self, content_class: ContentClass, plain: Buffer, file: bytes = b"") -> bytes | None:
        """Return the compressed chunk where it shrinks; now and then measure what would have been better."""
        with self._lock:
            group = self._groups.setdefault((content_class, file), _new_group(content_class))
            is_probe = group.seen % _PROBE_EVERY == 0
            group.seen += 1
            level = group.level
        if is_probe:
            return self._probe(group, plain)
        return _if_smaller(self._compressors.compress(level, plain), plain) if level != _STORE else None

    def _probe(self, group: _Group, plain: Buffer) -> bytes | None:
        results = {level: self._compressors.measure(level, plain) for level in group.costs}
        with self._lock:
            for level, (packed, cpu_s) in results.items():
                group.costs[level].size += len(packed)
                group.costs[level].cpu_s += cpu_s
            group.plain_bytes += len(plain)
            group.level = _choose(group)
        return _if_smaller(min((packed for packed, _ in results.values()), key=len), plain)


def _new_group(content_class: ContentClass) -> _Group:
    levels = _CANDIDATES_FOR_PAGES if content_class is ContentClass.PAGES else _CANDIDATES
    return _Group({level: _Cost() for level in levels}, levels[0])


def _choose(group: _Group) -> int:
    """Return the level that the samples recommend; _STORE where the content hardly shrinks at it."""
    chosen, *dearer = group.costs
    for level in dearer:
        saved = group.costs[chosen].size - group.costs[level].size
        if saved > 0 and saved >= _WORTH_BYTES_S * (group.costs[level].cpu_s - group.costs[chosen].cpu_s):
            chosen = level
    return chosen if group.costs[chosen].size < group.plain_bytes * _SHRINKS else _STORE


def _if_smaller(packed: bytes, plain: Buffer) -> bytes | None:
    return packed if len(packed) < len(plain) else None


def parse_compression(text: str) -> Callable[[], LevelPolicy]:
    """Return what makes the policy that ``auto``, ``none`` or ``zstd-N`` names; UsageError for anything else."""
    if text == "auto":
        return MeasuredLevel
    if text == "none":
        return lambda: FixedLevel(_STORE)
    match = re.fullmatch(r"zstd-([1-9]\d?)", text)
    if match is None or int(match[1]) > _LEVEL_LIMIT:
        raise UsageError(f"unknown compression {text!r}", hint=f"use auto, none, or zstd-1 to zstd-{_LEVEL_LIMIT}")
    return lambda: FixedLevel(int(match[1]))
