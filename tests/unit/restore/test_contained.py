"""What a hostile host may have written into a list of files never reaches anything outside of the target."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import msgspec
import pytest

from holdfast.errors import DamageError
from holdfast.repository.manifest import Entry, EntryKind
from holdfast.restore.contained import require_contained
from holdfast.restore.tree import finish_path

TARGET, SPACE = Path("/restored/data"), Path("/restored/space")


def entry(path: bytes, kind: EntryKind = EntryKind.FILE, link: bytes = b"") -> Entry:
    return Entry(path, kind, 0o600, 0, 0, "", "", 0, 0, 0, 0, link)


def place(*entries: Entry) -> list[tuple[Entry, Path]]:
    return [(each, TARGET / each.path.decode()) for each in entries]


def test_an_ordinary_tree_passes() -> None:
    tablespace = entry(b"pg_tblspc/1", EntryKind.SYMLINK, b"/restored/space")
    inside = (entry(b"pg_tblspc/1/PG_15/5"), SPACE / "PG_15/5")
    names = place(
        entry(b".", EntryKind.DIRECTORY), tablespace, entry(b"base/..hidden"), entry(b"b", EntryKind.HARD_LINK, b"a"),
        entry(b"a"),
    )  # fmt: skip
    require_contained([*names, inside], [TARGET, SPACE])


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([entry(b"/etc/cron.d/evil")], "leads out"),
        ([entry(b"../evil")], "leads out"),
        ([entry(b"base/../../evil")], "leads out"),
        ([entry(b"base//evil")], "leads out"),
        ([entry(b"")], "leads out"),
        ([entry(b"x", EntryKind.SYMLINK, b"/etc"), entry(b"x/cron.d/evil")], "through a symbolic link"),
        ([entry(b"x", EntryKind.HARD_LINK, b"/etc/passwd")], "hard link"),
        ([entry(b"x", EntryKind.HARD_LINK, b"../../etc/passwd")], "hard link"),
        ([entry(b"x"), entry(b"x", EntryKind.SYMLINK, b"/etc/passwd")], "twice"),
    ],
)
def test_what_leads_out_is_refused(entries: list[Entry], reason: str) -> None:
    with pytest.raises(DamageError, match=reason):
        require_contained(place(*entries), [TARGET])


def test_a_link_or_attribute_that_cannot_be_is_refused() -> None:
    """Nothing of it can reach the system, which takes names up to the first zero: it was an internal error."""
    odd = msgspec.structs.replace(entry(b"x"), xattrs={b"user.a\0b": b""})
    for bad in (odd, entry(b"x", EntryKind.SYMLINK, b"a\0b")):
        with pytest.raises(DamageError, match="cannot be"):
            require_contained(place(bad), [TARGET])


def test_an_owner_whose_name_cannot_be_is_one_by_number(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    odd = msgspec.structs.replace(entry(b"file"), user="a\0b", group="a\0b", uid=os.geteuid(), gid=os.getegid())
    finish_path(tmp_path / "file", odd)
    status = (tmp_path / "file").stat()
    assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())


def test_a_destination_outside_every_root_is_refused() -> None:
    with pytest.raises(DamageError, match="leads out"):
        require_contained([(entry(b"a"), Path("/elsewhere/a"))], [TARGET])


def test_rights_are_not_lent_to_who_runs_a_file(tmp_path: Path) -> None:
    program, directory = tmp_path / "program", tmp_path / "directory"
    program.touch()
    directory.mkdir()
    status = tmp_path.stat()
    ours = {"uid": status.st_uid, "gid": status.st_gid}
    finish_path(program, msgspec.structs.replace(entry(b"program"), mode=0o6755, **ours))
    finish_path(directory, msgspec.structs.replace(entry(b"d", EntryKind.DIRECTORY), mode=0o2750, **ours))
    assert stat.S_IMODE(program.stat().st_mode) == 0o755
    assert stat.S_IMODE(directory.stat().st_mode) == 0o2750


def test_a_file_system_without_attributes_takes_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, name: bytes, value: bytes) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported", path)

    monkeypatch.setattr(os, "setxattr", refuse)
    (tmp_path / "a").touch()
    status = tmp_path.stat()
    given = {"uid": status.st_uid, "gid": status.st_gid, "mode": 0o640, "xattrs": {b"user.note": b"x"}}
    finish_path(tmp_path / "a", msgspec.structs.replace(entry(b"a"), **given))
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
