"""Compression is chosen by measuring: per class of content, on a sample of the very chunks that are stored.

Every ``_PROBE_EVERY``th chunk of a class is compressed at each candidate level; the class then uses the cheapest
level that no dearer one beats by more than ``_WORTH``, or none where the content does not shrink.
"""

from __future__ import annotations

import re
import threading
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import zstandard

from holdfast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.storage.base import Buffer

_PROBE_EVERY = 128
_WORTH = 0.95
_SHRINKS = 0.97
_CANDIDATES = (1, 3)
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

    def compress(self, content_class: ContentClass, plain: Buffer) -> bytes | None:
        """Return the compressed chunk, or None to store it as it is. Called by many threads."""
        ...


class _Compressors(threading.local):
    """One zstd context per thread and level: contexts are dear to make and not to be shared."""

    def __init__(self) -> None:
        self._by_level: dict[int, zstandard.ZstdCompressor] = {}

    def compress(self, level: int, plain: Buffer) -> bytes:
        if level not in self._by_level:
            self._by_level[level] = zstandard.ZstdCompressor(level=level)
        return self._by_level[level].compress(plain)


class FixedLevel:
    """``zstd-N``: this level for everything; ``none``: level 0, nothing is compressed."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._compressors = _Compressors()

    def compress(self, content_class: ContentClass, plain: Buffer) -> bytes | None:  # noqa: ARG002 - the interface
        """Return the compressed chunk where it shrinks."""
        return _if_smaller(self._compressors.compress(self._level, plain), plain) if self._level else None


class MeasuredLevel:
    """``auto``: what the samples of each class recommend."""

    def __init__(self) -> None:
        self._compressors = _Compressors()
        self._candidates = dict.fromkeys(ContentClass, _CANDIDATES) | {ContentClass.PAGES: _CANDIDATES_FOR_PAGES}
        self._levels = {kind: candidates[0] for kind, candidates in self._candidates.items()}
        self._seen = dict.fromkeys(ContentClass, 0)
        self._sampled: dict[ContentClass, dict[int, int]] = {kind: {} for kind in ContentClass}
        self._lock = threading.Lock()

    def compress(self, content_class: ContentClass, plain: Buffer) -> bytes | None:
        """Return the compressed chunk where it shrinks; now and then measure what would have been better."""
        with self._lock:
            is_probe = self._seen[content_class] % _PROBE_EVERY == 0
            self._seen[content_class] += 1
            level = self._levels[content_class]
        if is_probe:
            return self._probe(content_class, plain)
        return _if_smaller(self._compressors.compress(level, plain), plain) if level != _STORE else None

    def _probe(self, content_class: ContentClass, plain: Buffer) -> bytes | None:
        results = {level: self._compressors.compress(level, plain) for level in self._candidates[content_class]}
        with self._lock:
            sizes = self._sampled[content_class]
            for level, result in results.items():
                sizes[level] = sizes.get(level, 0) + len(result)
            sizes[_STORE] = sizes.get(_STORE, 0) + len(plain)
            self._levels[content_class] = _choose(sizes, self._candidates[content_class])
        return _if_smaller(min(results.values(), key=len), plain)


def _choose(sizes: dict[int, int], candidates: tuple[int, ...]) -> int:
    """Return the level for sampled sizes by level (level 0: as it is)."""
    chosen = candidates[0]
    for level in candidates[1:]:
        if sizes[level] < sizes[chosen] * _WORTH:
            chosen = level
    return chosen if sizes[chosen] < sizes[_STORE] * _SHRINKS else _STORE


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
