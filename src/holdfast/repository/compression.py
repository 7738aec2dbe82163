"""Compression is chosen by measuring: for each large file, or class of small ones, on the very chunks that are stored.

Every ``_PROBE_EVERY``th chunk is compressed by each candidate. A dearer one is taken where it saves
``_WORTH_BYTES_S`` for each second of CPU that it costs more; none is, where the content does not shrink. Tables and
indexes differ so much in this that one level for all of them is wrong for most.

Told to look for matches of 4 or 5 bytes, level 1 takes a twentieth longer and stored an index in two thirds; level 3
took a third longer for more.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from holdfast import clock
from holdfast.errors import UsageError
from holdfast.repository.zstd import new_compressor

if TYPE_CHECKING:
    from collections.abc import Callable

    import zstandard

    from holdfast.storage.base import Buffer

_PROBE_EVERY = 128
_WORTH_BYTES_S = 50 << 20
"""What a repository far away takes in a second; for less than that, sending is quicker than compressing."""
_SHRINKS = 0.97
_LEVEL_LIMIT = 19


@dataclass(frozen=True, slots=True)
class Method:
    """How zstd compresses: its level, and the shortest match in bytes that it looks for (0: as the level has it)."""

    level: int
    min_match: int = 0


_CANDIDATES = (Method(-1), Method(1), Method(1, min_match=5), Method(1, min_match=4))
_CANDIDATES_FOR_PAGES = (Method(1, min_match=4),)  # 4 to 6 % smaller than level 3, in five sixths of its time


class ContentClass(StrEnum):
    """Kinds of content that are likely to compress alike."""

    RELATION = "relation"
    PAGES = "pages"
    """Changed pages gathered from all over a relation: little, and kept for long."""
    WAL = "wal"
    FILE = "file"
    METADATA = "metadata"


class CompressionPolicy(Protocol):
    """Says how one chunk is compressed."""

    def compress(self, content_class: ContentClass, plain: Buffer, file: bytes = b"") -> bytes | None:
        """Return the compressed chunk, or None to store it as it is. Called by many threads.

        ``file``: which large file it is from.
        """
        ...


class _Compressors(threading.local):
    """One zstd context per thread and method: contexts are dear to make and not to be shared."""

    def __init__(self) -> None:
        self._made: dict[Method, zstandard.ZstdCompressor] = {}

    def compress(self, method: Method, plain: Buffer) -> bytes:
        if method not in self._made:
            self._made[method] = new_compressor(method.level, method.min_match)
        return self._made[method].compress(plain)

    def measure(self, method: Method, plain: Buffer) -> tuple[bytes, float]:
        """Return the compressed chunk, and what it took of the CPU; the memory of a new context is not counted."""
        if method not in self._made:
            self.compress(method, plain)
        began = clock.thread_cpu_s()
        packed = self.compress(method, plain)
        return packed, clock.thread_cpu_s() - began


class FixedLevel:
    """``zstd-N``: this level for everything; ``none``: nothing is compressed."""

    def __init__(self, level: int | None) -> None:
        self._method = None if level is None else Method(level)
        self._compressors = _Compressors()

    def compress(
        self,
        content_class: ContentClass,  # noqa: ARG002 - the interface
        plain: Buffer,
        file: bytes = b"",  # noqa: ARG002 - the interface
    ) -> bytes | None:
        """Return the compressed chunk where it shrinks."""
        return _if_smaller(self._compressors.compress(self._method, plain), plain) if self._method else None


@dataclass
class _Cost:
    """What the samples take by one method: bytes, and seconds of CPU."""

    size: int = 0
    cpu_s: float = 0.0


@dataclass
class _Group:
    """What is compressed alike. ``method`` is None where it is stored as it is."""

    costs: dict[Method, _Cost]
    method: Method | None = None
    seen: int = 0
    plain_bytes: int = 0


class Measured:
    """``auto``: what the samples of each large file, and of each class of small ones, recommend."""

    def __init__(self) -> None:
        self._compressors = _Compressors()
        self._groups: dict[tuple[ContentClass, bytes], _Group] = {}
        self._lock = threading.Lock()

    def compress(self, content_class: ContentClass, plain: Buffer, file: bytes = b"") -> bytes | None:
        """Return the compressed chunk where it shrinks; now and then measure what would have been better."""
        with self._lock:
            group = self._groups.get((content_class, file))
            if group is None:
                group = self._groups[content_class, file] = _new_group(content_class)
            is_probe = group.seen % _PROBE_EVERY == 0
            group.seen += 1
            method = group.method
        if is_probe:
            return self._probe(group, plain)
        return _if_smaller(self._compressors.compress(method, plain), plain) if method else None

    def _probe(self, group: _Group, plain: Buffer) -> bytes | None:
        results = {method: self._compressors.measure(method, plain) for method in group.costs}
        with self._lock:
            for method, (packed, cpu_s) in results.items():
                group.costs[method].size += len(packed)
                group.costs[method].cpu_s += cpu_s
            group.plain_bytes += len(plain)
            group.method = _choose(group)
        return _if_smaller(min((packed for packed, _ in results.values()), key=len), plain)


def _new_group(content_class: ContentClass) -> _Group:
    methods = _CANDIDATES_FOR_PAGES if content_class is ContentClass.PAGES else _CANDIDATES
    return _Group({method: _Cost() for method in methods}, methods[0])


def _choose(group: _Group) -> Method | None:
    """Return the method that the samples recommend; None where the content hardly shrinks by it."""
    chosen, *dearer = group.costs
    for method in dearer:
        saved = group.costs[chosen].size - group.costs[method].size
        if saved > 0 and saved >= _WORTH_BYTES_S * (group.costs[method].cpu_s - group.costs[chosen].cpu_s):
            chosen = method
    return chosen if group.costs[chosen].size < group.plain_bytes * _SHRINKS else None


def _if_smaller(packed: bytes, plain: Buffer) -> bytes | None:
    return packed if len(packed) < len(plain) else None


def parse_compression(text: str) -> Callable[[], CompressionPolicy]:
    """Return what makes the policy that ``auto``, ``none`` or ``zstd-N`` names; UsageError for anything else."""
    if text == "auto":
        return Measured
    if text == "none":
        return lambda: FixedLevel(None)
    match = re.fullmatch(r"zstd-([1-9]\d?)", text)
    if match is None or int(match[1]) > _LEVEL_LIMIT:
        raise UsageError(f"unknown compression {text!r}", hint=f"use auto, none, or zstd-1 to zstd-{_LEVEL_LIMIT}")
    return lambda: FixedLevel(int(match[1]))
