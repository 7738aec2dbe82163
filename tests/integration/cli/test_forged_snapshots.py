"""A host that holds a writer credential can store any list of files: whatever it says, each command answers or refuses.

``call`` holds every answer free of internal errors and tracebacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from holdfast.errors import ExitCode
from holdfast.model import new_object_id
from holdfast.repository.manifest import load_leaves
from holdfast.repository.sealed import ObjectType, seal_object
from holdfast.repository.writer import WriterOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.repository.repository import Repository

PATH, KIND, MODE, UID, MTIME, SIZE, EXTENTS, CHUNKS = 0, 1, 2, 3, 7, 10, 13, 14
DEFAULTS = [b"", {}, b"", []]
"""Of the columns after the size, which an encoder may leave out."""
Rows = list[list[Any]]


def changed(column: int, value: object, path: bytes = b"PG_VERSION") -> Callable[[Rows], Rows]:
    """Return what gives one path another value."""
    return lambda rows: [[*row[:column], value, *row[column + 1 :]] if row[PATH] == path else row for row in rows]


LISTS: dict[str, Callable[[Rows], Rows]] = {
    "a mode that cannot be": changed(MODE, 1 << 40),
    "an owner that cannot be": changed(UID, -1),
    "a time that cannot be": changed(MTIME, (1 << 64) - 1),
    "a size that cannot be": changed(SIZE, 1 << 63),
    "a size below its extents": changed(SIZE, 1),
    "extents that are cut off": changed(EXTENTS, b"x" * 47),
    "extents of both kinds": changed(CHUNKS, [bytes(32)]),
    "a short chunk id": changed(CHUNKS, [bytes(31)]),
    "a directory with content": changed(KIND, 2),
    "an unknown kind": changed(KIND, 9),
    "a path twice": lambda rows: sorted([*rows, rows[0]], key=lambda row: row[PATH]),
    "paths out of order": lambda rows: rows[::-1],
    "a path outside": lambda rows: sorted([*rows, [b"../x", *rows[-1][1:]]], key=lambda row: row[PATH]),
    "a path with a zero": lambda rows: [*rows, [b"zz\0", *rows[-1][1:]]],
    "no columns": lambda _: [[]],
}
FACTS: dict[str, dict[str, object]] = {
    "a timeline that cannot be": {"timeline": 0},
    "a position that cannot be": {"start_lsn": "x"},
    "segments that cannot be": {"wal_segment_size": 3},
    "an identifier that leads elsewhere": {"system_identifier": "../.."},
}


def forge(repository: Repository, change: Callable[[Rows], Rows], facts: dict[str, object]) -> str:
    """Store the last snapshot once more, otherwise; return its id."""
    reader, last = repository.reader(), repository.snapshots()[-1]
    leaves = load_leaves(reader.read(last.manifest))
    rows = [row for leaf in leaves for row in msgspec.msgpack.decode(reader.read(leaf.chunk))]
    rows = change([[*row, *DEFAULTS[len(row) - SIZE - 1 :]] for row in rows])
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        leaf = writer.put_metadata(msgspec.msgpack.encode(rows))
        first = rows[0][PATH] if rows[0] else b""
        manifest = writer.put_metadata(msgspec.msgpack.encode([[first, leaf, len(rows)]]))
        writer.flush()
        odd = msgspec.structs.replace(last, id=new_object_id(), manifest=manifest, facts={**last.facts, **facts})
        content = seal_object(repository.keys, ObjectType.SNAPSHOT, odd.object_name, msgspec.json.encode(odd))
        repository.storage.put(odd.object_name, content)
    return odd.id


@pytest.mark.parametrize("kind", [*LISTS, *FACTS])
def test_whatever_a_snapshot_says_each_command_answers_or_refuses(kind: str, copied_stack, call, tmp_path):
    forged = forge(copied_stack.open(), LISTS.get(kind, list), FACTS.get(kind, {}))
    place = ["--target", tmp_path / "target", "--tablespace", f"fast={tmp_path / 'space'}"]
    for command in (
        ["snapshots"], ["show", forged], ["ls", "-lR", forged], ["find", "PG_VERSION"], ["diff", forged], ["stats"],
        ["dump", forged, "PG_VERSION", "-o", tmp_path / "dumped"], ["restore", "db", "--snapshot", forged, *place],
    ):  # fmt: skip
        assert call(copied_stack, *command).code in set(ExitCode), command
    checked = call(copied_stack, "check", "--json")
    assert checked.code == ExitCode.VERIFICATION_FAILED
    assert any(forged in damage["snapshots"] for damage in checked.message("check_report")["damages"])
    assert call(copied_stack, "ls", copied_stack.open().snapshots()[0].id).code == 0
