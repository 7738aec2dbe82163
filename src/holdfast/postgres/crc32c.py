"""CRC-32C (Castagnoli), with which PostgreSQL seals small files such as pg_control.

Only a few hundred bytes are ever summed here, so a table in plain Python is enough and needs no library
(``src/include/port/pg_crc32c.h``; the polynomial is that of RFC 3720, appendix B.4).
"""

from __future__ import annotations

_REVERSED_POLYNOMIAL = 0x82F63B78


def _table() -> tuple[int, ...]:
    entries = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_REVERSED_POLYNOMIAL if value & 1 else 0)
        entries.append(value)
    return tuple(entries)


TABLE = _table()
"""What a byte does to the sum; for those who sum many things at once."""


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of ``data``: an unsigned number of 32 bits."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF
