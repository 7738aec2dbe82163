"""Ids and small frozen values that every room shares."""

from __future__ import annotations

import os
import re
from typing import NewType

ChunkId = NewType("ChunkId", bytes)
"""32 bytes: the keyed BLAKE3 of a chunk's plaintext."""

ObjectId = NewType("ObjectId", str)
"""32 lowercase hex digits: the random name of a pack, an index object, a snapshot, a key slot or a session."""

OBJECT_ID = re.compile(r"[0-9a-f]{32}")


def new_object_id() -> ObjectId:
    """Return a random object id (128 bits)."""
    return ObjectId(os.urandom(16).hex())


def host_name() -> str:
    """Return this machine's name as text: a byte that is no UTF-8, which no JSON could hold, becomes a ``?``."""
    return os.uname().nodename.encode("utf-8", "replace").decode()
