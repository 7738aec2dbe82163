"""What the frozen repositories hold: said once, for who made them and for who reads them."""

from __future__ import annotations

import hashlib

from holdfast.repository.manifest import Entry, EntryKind

PASSPHRASE = b"correct horse battery staple"
RECOVERY = "HOLDFAST-RECOVERY-1 AAAQE-AYEAU-DAOCA-JBIFQ-YDIOB-4IBCE-QTCQK-RMFYY-DENBW-HA5DY-P6KKH-J"
WRITER_SECRET = bytes(range(32, 64))

_NOISE = hashlib.shake_128(b"noise").digest(40_000)
_TEXT = b"".join(b"%05d the quick brown fox jumps over the lazy dog\n" % number for number in range(1500))

FIRST: dict[bytes, bytes] = {
    b"base/1/1259": _TEXT[:65536],
    b"base/1/1260": _NOISE,
    b"base/1/sparse": b"begin" + bytes(131_072 - 8) + b"end",
    b"empty": b"",
    b"g\xc3\xb6tter/\xff not utf-8": b"a name of bytes",
    b"postgresql.conf": b"port = 5432\n",
    b"small/1": b"one",
    b"small/2": b"two" * 100,
}
SECOND: dict[bytes, bytes] = {
    **FIRST,
    b"base/1/1259": _TEXT[:32768] + _NOISE[:8192] + _TEXT[40960:65536],
    b"small/3": b"three",
}
SNAPSHOTS = {"first": FIRST, "second": SECOND}
"""By tag."""

XATTRS = {b"user.comment": b"kept"}


def _entry(path: bytes, kind: EntryKind, link: bytes = b"") -> Entry:
    return Entry(path, kind, 0o700, 26, 26, "postgres", "postgres", 1_700_000_000_123_456_789, 2, 3, 0, link)


OTHERS = [
    _entry(b"base", EntryKind.DIRECTORY),
    _entry(b"base/1", EntryKind.DIRECTORY),
    _entry(b"hard", EntryKind.HARD_LINK, b"small/1"),
    _entry(b"pg_wal", EntryKind.SYMLINK, b"/elsewhere/wal"),
    _entry(b"pipe", EntryKind.FIFO),
]
"""Entries without content."""


_SYSTEM = "wal/7123456789012345678"
WAL: dict[str, bytes] = {
    f"{_SYSTEM}/00000001/000000010000000000000001": _TEXT + bytes((4 << 20) - len(_TEXT)) + _NOISE,
    f"{_SYSTEM}/00000001/000000010000000000000002.piece-00000000-00002000": _NOISE[:8192],
    f"{_SYSTEM}/00000002/00000002.history": b"1\t0/2000000\tno recovery target specified\n",
}
"""The WAL archive, by object name."""
