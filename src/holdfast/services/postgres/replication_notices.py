"""What a server says by the way while it sends a base backup: some of it is that it left out what is the cluster's.

A server goes through links in a data directory that lead to other disks, and its base backup does not: it says
"skipping special file" (``sendDir`` in ``src/backend/backup/basebackup.c``) in the language of its messages, and goes
on. So a notice is known by the path that it names, and by what came: one of sockets, or of damaged pages, is no loss.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from holdfast.postgres.datadir import SERVERS_OWN_DIRECTORIES, TABLESPACES_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from holdfast.postgres.facts import Tablespace

_NAMED = re.compile(r"(?:^|[^\w.])(\.?/[^\"«»„“”]+)")
"""A path: relative to the data directory, or absolute where it is in a tablespace; quotes are those of the language."""


def left_out_on_the_way(
    notices: Iterable[str], there: Collection[bytes], tablespaces: Iterable[Tablespace]
) -> Iterator[str]:
    """Yield, as lines for people, each path of the cluster's that a notice names and that is not among what came."""
    places = {os.fsencode(each.location): b"%s/%d" % (TABLESPACES_DIRECTORY, each.oid) for each in tablespaces}
    said: set[bytes] = set()  # a server that tells of progress goes through everything twice
    for words in notices:
        match = _NAMED.search(words)
        path = _in_snapshot(os.fsencode(match[1].strip()), places) if match else b""
        if path.split(b"/")[0] in SERVERS_OWN_DIRECTORIES | {TABLESPACES_DIRECTORY} and path not in {*there, *said}:
            said.add(path)
            yield f"{os.fsdecode(path)}: the server says: {words}"


def _in_snapshot(path: bytes, places: dict[bytes, bytes]) -> bytes:
    """Return a path as a snapshot has it; as it is, where it is in no tablespace."""
    for place, name in places.items():
        if path.startswith(place + b"/"):
            return name + path[len(place) :]
    return path.removeprefix(b"./")
