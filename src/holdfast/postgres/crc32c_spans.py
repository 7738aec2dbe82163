"""CRC-32C of much data, without the GIL: PostgreSQL's backup manifests carry one for each file.

A CRC is the remainder of the data, read as a polynomial, by a fixed polynomial of degree 32; so the data may first be
reduced by any multiple of that one. A multiple with few terms is a few exclusive ors; and, as squaring is linear over
two elements, it stays a multiple with every ``x`` read as ``x**(64 * 2**n)``: so whole words are folded, in numpy, at
several GB/s. ``x**5685 + x**1362 + x**426 + 1`` has only four terms, and takes the bulk; what it leaves is reduced by
``x**266 + x**143 + x**121 + x**88 + x**71 + 1``. The rest, and whatever is short, goes through a tree of tables, many
files side by side. Little-endian machines only, as everywhere in this package.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from holdfast.postgres.crc32c import TABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Values = NDArray[np.uint32]

_FEW_TERMS: Final = (5685, 1362, 426, 0)
_LOW_DEGREE: Final = (266, 143, 121, 88, 71, 0)
_FOLDS: Final = ((_FEW_TERMS, 16), (_FEW_TERMS, 1), (_LOW_DEGREE, 8), (_LOW_DEGREE, 2), (_LOW_DEGREE, 1))
"""The exponents of a multiple, and how many words are folded as one: many while there is much, as each call of numpy
costs as much as some KiB of work."""
_WORD: Final = 8
_ALL_ONES: Final = 0xFFFFFFFF
_LEAST_LEAVES: Final = 4


def crc32c_consuming(data: memoryview) -> int:
    """Return the CRC-32C of ``data``, which must be writable, and is destroyed: folding works in place."""
    whole = len(data) // _WORD
    words = np.frombuffer(data[: whole * _WORD], np.uint64)
    at = 0
    for exponents, stride in _FOLDS:
        at = _fold(words, at, [(exponents[0] - exponent) * stride for exponent in exponents[1:]])
    return crc32c_of_remainder(int(_remainders([data[at * _WORD :]])[0]), len(data))


def crc32c_of_each(pieces: Sequence[memoryview]) -> list[int]:
    """Return the CRC-32C of each piece; for pieces of some KiB, best many at once."""
    remainders = _remainders(pieces)
    return [
        crc32c_of_remainder(int(remainder), len(piece)) for remainder, piece in zip(remainders, pieces, strict=True)
    ]


def crc32c_joined(first: int, second: int, second_bytes: int) -> int:
    """Return the CRC-32C of two runs of bytes that follow each other, from that of each."""
    return _advance_number(first, second_bytes) ^ second


def crc32c_of_remainder(remainder: int, length: int) -> int:
    """Return the CRC of data from its remainder: a CRC begins with all ones, and is inverted at the end."""
    return remainder ^ _advance_number(_ALL_ONES, length) ^ _ALL_ONES


def _fold(words: NDArray[np.uint64], at: int, offsets: list[int]) -> int:
    """Reduce what begins at ``at`` until no more than the last of the offsets is left; return where that begins.

    ``offsets`` (ascending): how far on each word is added when it is taken away, the degree less each other exponent.
    """
    end = len(words) - offsets[-1]
    while at < end:
        stop = min(at + offsets[0], end)
        for offset in offsets:
            words[at + offset : stop + offset] ^= words[at:stop]
        at = stop
    return at


def _remainders(pieces: Sequence[memoryview]) -> Values:
    """Return each piece's remainder."""
    found = np.zeros(len(pieces), np.uint32)
    by_leaves: dict[int, list[int]] = {}
    for number, piece in enumerate(pieces):
        by_leaves.setdefault(_leaves(len(piece)), []).append(number)
    for leaves, numbers in by_leaves.items():
        rows = np.zeros((len(numbers), leaves * 4), np.uint8)
        for row, number in zip(rows, numbers, strict=True):
            piece = pieces[number]
            row[leaves * 4 - len(piece) :] = np.frombuffer(piece, np.uint8)  # zeros in front change no remainder
        found[numbers] = _joined_up(rows.view("<u4"))
    return found


def _leaves(length: int) -> int:
    """Return how many words of 32 bits a tree for ``length`` bytes begins with: a power of two."""
    return max(_LEAST_LEAVES, 1 << (max(length - 1, 0) // 4).bit_length())


def _joined_up(values: Values) -> Values:
    """Return one remainder for each row: neighbours are joined until one is left."""
    values, level = _advance(values, 2), 2
    while values.shape[1] > 1:
        values = _advance(values[:, 0::2], level) ^ values[:, 1::2]
        level += 1
    return values[:, 0]


def _advance(values: Values, level: int) -> Values:
    """Return what remainders become when ``2**level`` zero bytes follow."""
    octets = np.ascontiguousarray(values).view(np.uint8).reshape(*values.shape, 4)
    tables = _tables(level)
    advanced: Values = tables[0][octets[..., 0]]
    for number in (1, 2, 3):
        advanced ^= tables[number][octets[..., number]]
    return advanced


def _advance_number(value: int, zeros: int) -> int:
    for level in range(zeros.bit_length()):
        if zeros >> level & 1:
            tables, octets = _tables(level), value.to_bytes(4, "little")
            value = int(tables[0, octets[0]] ^ tables[1, octets[1]] ^ tables[2, octets[2]] ^ tables[3, octets[3]])
    return value


@cache
def _tables(level: int) -> Values:
    """Return what each value of each of the four octets of a remainder becomes after ``2**level`` zero bytes."""
    if level > 0:
        return _advance(_tables(level - 1), level - 1)
    values = np.arange(256, dtype=np.uint32)[None, :] << np.arange(0, 32, 8, dtype=np.uint32)[:, None]
    return np.asarray(np.array(TABLE, np.uint32)[values & 0xFF] ^ values >> np.uint32(8))
