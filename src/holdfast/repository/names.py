"""Names of files between people and the system: names are bytes, and may hold what a terminal must not see."""

from __future__ import annotations

import os
import re

ROOT = b"."
"""The path of the entry for the root itself."""

_LEADS_ELSEWHERE = re.compile(rb"\0|(?:^|/)\.{0,2}(?:/|\Z)").search
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}


def shown(path: bytes) -> str:
    """Return a name as one printable text: what is no printable UTF-8 is written as in C (``\\n``, ``\\033``)."""
    text = path.decode("utf-8", "surrogateescape")
    return text if text.isprintable() and "\\" not in text else "".join(map(_escaped, text))


def is_plain(path: bytes) -> bool:
    """Whether a path of a snapshot is one below its root, or the root itself, as a system would write it."""
    return path == ROOT or not _LEADS_ELSEWHERE(path)


def is_text(path: str) -> bool:
    """Whether a path that was typed is text in UTF-8: nothing else can be kept in what is recorded of a run."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def typed(path: str) -> bytes:
    """Return the path in a snapshot that is meant: ``/base/1/``, ``./base/1`` and ``base/1`` are the same."""
    parts = [part for part in os.fsencode(path).split(b"/") if part not in {b"", b"."}]
    return b"/".join(parts) or ROOT


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))
