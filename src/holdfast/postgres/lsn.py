"""Log sequence numbers: positions in the write-ahead log, which order everything that a backup relies on.

Text form: two hexadecimal numbers of at most eight digits with a slash between them, the high and the low 32 bits
(manual, section 8.20, "pg_lsn Type"; ``LSN_FORMAT_ARGS`` in ``src/include/access/xlogdefs.h``).
"""

from __future__ import annotations

import re
from typing import Self

from holdfast.errors import VerificationError

MAX_LSN = 2**64 - 1

_TEXT = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


class Lsn(int):
    """A byte position in the WAL: 0 to 2**64 - 1. Lsn + int is an Lsn; Lsn - Lsn is a plain number of bytes."""

    __slots__ = ()

    def __new__(cls, position: int) -> Self:
        """Return the LSN of a byte position; ValueError when it does not fit in 64 bits."""
        if not 0 <= position <= MAX_LSN:
            raise ValueError(f"not a WAL position: {position:d}")
        return super().__new__(cls, position)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the LSN written as "0/16B3748"; VerificationError when it is not one."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise VerificationError(f"not a WAL position: {text!r}")
        return cls(int(match[1], 16) << 32 | int(match[2], 16))

    def __str__(self) -> str:
        """Return the form that the server prints, such as "0/16B3748"."""
        return f"{self >> 32:X}/{self & 0xFFFFFFFF:X}"

    def __repr__(self) -> str:
        """Return Lsn(0/16B3748)."""
        return f"Lsn({self})"

    def __add__(self, distance_bytes: int) -> Lsn:
        """Return the position that lies this many bytes further on."""
        return Lsn(int(self) + int(distance_bytes))


NO_LSN = Lsn(0)
"""InvalidXLogRecPtr: no position (``src/include/access/xlogdefs.h``)."""
