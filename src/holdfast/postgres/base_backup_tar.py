"""Headers of the tar archives that BASE_BACKUP sends, one block each (POSIX.1-1988 "ustar").

The server writes no others: a name of 100 bytes or more makes its backup fail, and sizes above 8 GiB are in base 256
(``tarCreateHeader`` and ``print_tar_number`` in ``src/port/tar.c``). So long-name records of other programs are
refused, like all that is not of this form: nothing is guessed of what a cluster is restored from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from holdfast.errors import VerificationError

BLOCK_BYTES: Final = 512

_NAME, _MODE, _UID, _GID = slice(0, 100), slice(100, 108), slice(108, 116), slice(116, 124)
_SIZE, _MTIME, _CHECKSUM, _KIND = slice(124, 136), slice(136, 148), slice(148, 156), slice(156, 157)
_LINK, _MAGIC, _USER, _GROUP, _PREFIX = (
    slice(157, 257),
    slice(257, 262),
    slice(265, 297),
    slice(297, 329),
    slice(345, 500),
)
_ZEROS: Final = bytes(BLOCK_BYTES)
_IS_BASE_256: Final = 0x80
_OCTAL: Final = re.compile(rb"[0-7]+")
_LARGEST_SIZE: Final = 2**63 - 1
_LARGEST_ID: Final = 2**32 - 1
_LARGEST_TIME: Final = 2**64 - 1


class MemberKind(Enum):
    """What a member of an archive is; values as in the header."""

    FILE = b"0"
    SYMLINK = b"2"
    DIRECTORY = b"5"


@dataclass(frozen=True, slots=True)
class TarHeader:
    """One member. ``path`` is relative, without "." or ".." in it; ``mtime_s`` in seconds since 1970 UTC."""

    path: bytes
    kind: MemberKind
    mode: int
    uid: int
    gid: int
    user: str
    group: str
    size: int
    mtime_s: int
    link: bytes


def parse_tar_header(block: bytes) -> TarHeader | None:
    """Return the header in a block of 512 bytes; None for zeros, which end an archive. VerificationError otherwise."""
    if block == _ZEROS:
        return None
    if block[_MAGIC] != b"ustar" or _number(block[_CHECKSUM]) != _checksum(block):
        raise VerificationError("the server sent an archive whose header is damaged", hint="run the backup again")
    path = _text(block[_PREFIX]) + b"/" + _text(block[_NAME]) if block[345] else _text(block[_NAME])
    try:
        kind = MemberKind(block[_KIND])
    except ValueError:
        raise VerificationError(
            f"the server sent {path!r} in a form that is not known: {block[_KIND]!r}",
            hint="this version of the server may be newer than this Holdfast",
        ) from None
    return TarHeader(
        path=_safe(path),
        kind=kind,
        mode=_number(block[_MODE]) & 0o7777,
        uid=_number(block[_UID], _LARGEST_ID),
        gid=_number(block[_GID], _LARGEST_ID),
        user=_text(block[_USER]).decode("ascii", "replace"),
        group=_text(block[_GROUP]).decode("ascii", "replace"),
        size=_number(block[_SIZE], _LARGEST_SIZE) if kind is MemberKind.FILE else 0,
        mtime_s=_signed(_number(block[_MTIME], _LARGEST_TIME)),
        link=_text(block[_LINK]),
    )


def padding_after(size: int) -> int:
    """Return how many bytes follow a member's content, up to the next header."""
    return -size % BLOCK_BYTES


def _safe(path: bytes) -> bytes:
    """Return a path without "./" before and "/" after it; one that leads elsewhere would be written there one day."""
    parts = [part for part in path.split(b"/") if part not in {b"", b"."}]
    if path.startswith(b"/") or b".." in parts or not parts:
        raise VerificationError(f"the server sent a file outside its data directory: {path!r}")
    return b"/".join(parts)


def _checksum(block: bytes) -> int:
    return sum(block) - sum(block[_CHECKSUM]) + len(block[_CHECKSUM]) * ord(" ")


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _signed(number: int) -> int:
    """Return a 64-bit number with its sign: the server writes a time before 1970 as if it had none."""
    return number - 2**64 if number >= 2**63 else number


def _number(field: bytes, largest: int = _LARGEST_SIZE) -> int:
    """Return an octal number, or where the first bit is set, the rest as one in base 256."""
    digits = field.strip(b" \0")
    if field[0] & _IS_BASE_256:
        number = int.from_bytes(bytes([field[0] & ~_IS_BASE_256]) + field[1:], "big")
    elif _OCTAL.fullmatch(digits):
        number = int(digits, 8)
    else:
        number = largest + 1 if digits else 0
    if number > largest:
        raise VerificationError(
            f"the server sent an archive whose header is damaged: {field!r}", hint="run the backup again"
        )
    return number
