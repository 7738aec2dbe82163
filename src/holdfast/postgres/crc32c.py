"""CRC-32C (Castagnoli), with which PostgreSQL seals pg_control, records of WAL and the files of a base backup.

What is short is summed here, by a table: it costs nothing to import. Much data is summed by the package ``crc32c``,
with the processor's own instruction, and its sums are joined here (``src/include/port/pg_crc32c.h``; the polynomial is
that of RFC 3720, appendix B.4).
"""

from __future__ import annotations

_REVERSED_POLYNOMIAL = 0x82F63B78
_ONE, _X_TO_THE_8 = 1 << 31, 1 << 23
"""Polynomials of degree 31 as numbers, the highest bit for the lowest degree."""


def _table() -> tuple[int, ...]:
    entries = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = _times_x(value)
        entries.append(value)
    return tuple(entries)


def _times_x(value: int) -> int:
    return value >> 1 ^ (_REVERSED_POLYNOMIAL if value & 1 else 0)


TABLE = _table()
"""What a byte does to the sum; for those who sum many things at once."""


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of ``data``: an unsigned number of 32 bits."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def crc32c_joined(first: int, second: int, second_bytes: int) -> int:
    """Return the CRC-32C of two runs of bytes that follow each other, from that of each."""
    shift, power = _ONE, _X_TO_THE_8
    while second_bytes:
        if second_bytes & 1:
            shift = _product(shift, power)
        power = _product(power, power)
        second_bytes >>= 1
    return _product(first, shift) ^ second


def _product(one: int, other: int) -> int:
    """Return two polynomials' product, reduced by that of CRC-32C."""
    product = 0
    for degree in range(32):
        if one >> 31 - degree & 1:
            product ^= other
        other = _times_x(other)
    return product
