"""What only the files driver promises: durability, atomicity, links, full disks."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from holdfast import clock
from holdfast.errors import (
    AlreadyExistsError,
    NoSpaceError,
    NotFoundError,
    PermissionRefusedError,
    StorageError,
    TransientStorageError,
)
from holdfast.storage import renaming
from holdfast.storage.files import FilesStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

_DAY_S = 86_400
_NOBODY = 65534


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with one object in it."""
    FilesStorage(str(tmp_path / "root")).put("packs/data/ab/one", b"whole")
    return tmp_path / "root"


@pytest.fixture
def files(root: Path) -> FilesStorage:
    """A storage that is new to the root."""
    return FilesStorage(str(root))


@contextmanager
def as_an_ordinary_user() -> Iterator[None]:
    """Act without the rights of root, whom no mode of a directory stops."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def leftovers(root: Path) -> list[str]:
    """Return the names beneath a root that no object can have."""
    return [path.name for path in root.rglob("*") if "~" in path.name]


def test_an_object_is_a_plain_file_under_its_name(root: Path):
    assert (root / "packs/data/ab/one").read_bytes() == b"whole"
    assert leftovers(root) == []


def test_fault_36_a_put_costs_one_fdatasync_and_one_fsync_of_the_directory(files: FilesStorage, monkeypatch):
    synced: list[str] = []

    def counted(name: str):
        real = getattr(os, name)

        def call(descriptor: int) -> None:
            synced.append(f"{name} {'directory' if os.path.isdir(f'/proc/self/fd/{descriptor}') else 'file'}")
            real(descriptor)

        return call

    files.put("packs/data/ab/two", b"x")
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, counted(name))
    files.put("packs/data/ab/three", bytes(1 << 20))
    assert synced == ["fdatasync file", "fsync directory"]


def test_each_directory_is_made_durable_once_by_each_process(files: FilesStorage, root: Path, monkeypatch):
    synced: list[str] = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: (synced.append(os.readlink(f"/proc/self/fd/{descriptor}")), real(descriptor))
    )
    files.put("packs/data/cd/one", b"x")
    assert [os.path.relpath(path, root) for path in synced] == [".", "packs", "packs/data", "packs/data/cd"]
    synced.clear()
    files.put("packs/data/ab/two", b"x")  # there already, but perhaps made by a writer that was killed
    assert [os.path.relpath(path, root) for path in synced] == ["packs/data", "packs/data/ab"]


def test_a_delete_is_durable(files: FilesStorage, monkeypatch):
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    files.delete("packs/data/ab/one")
    assert len(synced) == 1


def test_leftovers_are_invisible(files: FilesStorage, root: Path):
    (root / "packs/data/ab/~1234").write_bytes(b"half")
    (root / "lost+found").mkdir(mode=0)
    assert [info.name for info in files.list()] == ["packs/data/ab/one"]


def test_old_leftovers_are_removed_and_young_ones_kept_by_who_writes_more_than_one_object(
    files: FilesStorage, root: Path, monkeypatch: pytest.MonkeyPatch
):
    old, young = root / "packs/data/ab/~old", root / "packs/data/ab/~young"

    def leave_behind() -> None:
        for path in (old, young):
            path.write_bytes(b"half")
        then = old.stat().st_mtime - 2 * _DAY_S
        os.utime(old, (then, then))

    leave_behind()
    cold, resident = FilesStorage(files.url), FilesStorage(files.url)
    cold.put("packs/data/ab/cold", b"x")
    resident.put("packs/data/ab/first", b"x")
    assert old.exists()
    resident.put("packs/data/ab/second", b"x")
    assert not old.exists()
    leave_behind()
    resident.put("packs/data/ab/third", b"x")
    assert old.exists()
    monkeypatch.setattr(clock, "monotonic", lambda: time.monotonic() + 2 * _DAY_S)
    resident.put("packs/data/ab/fourth", b"x")
    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, NoSpaceError),
        (errno.EDQUOT, NoSpaceError),
        (errno.EACCES, PermissionRefusedError),
        (errno.EROFS, PermissionRefusedError),
        (errno.ESTALE, TransientStorageError),
        (errno.EIO, StorageError),
    ],
)
@pytest.mark.parametrize("call", ["write", "fdatasync", "link", "open"])
def test_a_failing_system_call_is_told_and_leaves_nothing(
    files: FilesStorage, root: Path, monkeypatch, number: int, expected: type[StorageError], call: str
):
    real_open = os.open

    def fail(*given: object, **named: object) -> int:
        if call == "open" and not str(given[0]).startswith("~"):
            return real_open(*given, **named)
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StorageError) as caught:
            files.put("packs/data/ab/two", b"x")
    assert type(caught.value) is expected
    assert caught.value.message.startswith("put packs/data/ab/two: ")
    assert leftovers(root) == []
    assert [info.name for info in files.list()] == ["packs/data/ab/one"]


def test_a_write_that_stores_a_part_goes_on(files: FilesStorage, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:1000]))
    data = os.urandom(10_500)
    files.put("two", data)
    assert files.get("two") == data


def test_a_read_that_gives_a_part_goes_on(files: FilesStorage, monkeypatch):
    real = os.pread
    data = os.urandom(10_500)
    files.put("two", data)
    monkeypatch.setattr(os, "pread", lambda descriptor, count, offset: real(descriptor, min(count, 1000), offset))
    assert files.get("two", offset=100) == data[100:]


def test_a_file_that_shrinks_while_it_is_read_is_an_error(files: FilesStorage, root: Path, monkeypatch):
    real = os.fstat

    def shrink(descriptor: int) -> os.stat_result:
        found = real(descriptor)
        if found.st_size == 5:
            os.truncate(root / "packs/data/ab/one", 3)
        return found

    monkeypatch.setattr(os, "fstat", shrink)
    with pytest.raises(StorageError, match="ends after 3 bytes"):
        files.get("packs/data/ab/one")


def test_links_are_refused_at_the_end_of_a_path(files: FilesStorage, root: Path, tmp_path: Path):
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "packs/data/ab/link").symlink_to(tmp_path / "secret")
    for ask in (files.get, files.stat):
        with pytest.raises(StorageError, match="symbolic link") as caught:
            ask("packs/data/ab/link")
        assert not isinstance(caught.value, NotFoundError)
    with pytest.raises(AlreadyExistsError):
        files.put("packs/data/ab/link", b"x")
    files.put("packs/data/ab/link", b"x", must_not_exist=False)
    assert (tmp_path / "secret").read_bytes() == b"secret"
    assert not (root / "packs/data/ab/link").is_symlink()


def test_links_are_refused_on_the_way(files: FilesStorage, root: Path, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "one").write_bytes(b"secret")
    (root / "keys").symlink_to(outside)
    for verb in (
        lambda: files.get("keys/one"),
        lambda: files.stat("keys/one"),
        lambda: files.delete("keys/one"),
        lambda: files.put("keys/two", b"x"),
        lambda: files.put("keys/one", b"x", must_not_exist=False),
        lambda: list(files.list("keys")),
    ):
        with pytest.raises(StorageError, match="symbolic link") as caught:
            verb()
        assert not isinstance(caught.value, NotFoundError)
    assert [path.name for path in outside.iterdir()] == ["one"]
    assert (outside / "one").read_bytes() == b"secret"


def test_fault_21_a_listing_does_not_pass_over_a_link(files: FilesStorage, root: Path, tmp_path: Path):
    """What is behind it would seem not to exist."""
    (root / "packs/meta").symlink_to(tmp_path)
    with pytest.raises(StorageError, match="symbolic link"):
        list(files.list())


def test_fault_21_a_directory_that_cannot_be_read_is_an_error_of_the_listing():
    with tempfile.TemporaryDirectory() as made:  # tmp_path is closed to other users
        root = Path(made)
        root.chmod(0o755)
        FilesStorage(made).put("packs/data/ab/one", b"x")
        for path in root.rglob("*"):
            path.chmod(0o755)
        (root / "packs/data").chmod(0o311)
        with as_an_ordinary_user():
            files = FilesStorage(made)
            assert files.stat("packs/data/ab/one").size_bytes == 1
            for prefix in ("", "packs", "packs/data"):
                with pytest.raises(PermissionRefusedError):
                    list(files.list(prefix))
        (root / "packs/data").chmod(0o755)


def test_fault_21_running_out_of_descriptors_is_an_error_of_the_listing(files: FilesStorage, monkeypatch):
    real = os.open

    def fail(path: str, *given: object, **named: object) -> int:
        if path == "ab":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(path, *given, **named)

    monkeypatch.setattr(os, "open", fail)
    listing = files.list()
    with pytest.raises(StorageError, match="too many open files"):
        list(listing)


def test_a_root_that_was_seen_and_vanished_is_not_an_empty_storage(files: FilesStorage, root: Path):
    assert files.stat("packs/data/ab/one")
    root.rename(root.with_name("elsewhere"))
    for verb in (lambda: list(files.list()), lambda: files.get("config"), lambda: files.put("two", b"x")):
        with pytest.raises(StorageError, match="no longer the directory") as caught:
            verb()
        assert not isinstance(caught.value, NotFoundError)
    root.mkdir()  # as the mount point of a disk stays behind
    with pytest.raises(StorageError, match="no longer the directory"):
        list(files.list())


def test_only_the_last_directory_of_the_root_is_made(tmp_path: Path):
    FilesStorage(str(tmp_path / "new")).put("config", b"x")
    with pytest.raises(StorageError, match="no such directory") as caught:
        FilesStorage(str(tmp_path / "not" / "there")).put("config", b"x")
    assert caught.value.hint
    assert not (tmp_path / "not").exists()


def test_a_name_below_an_object_is_refused(files: FilesStorage):
    with pytest.raises(StorageError, match="not a directory"):
        files.put("packs/data/ab/one/below", b"x")


def test_what_is_not_a_regular_file_is_no_object(files: FilesStorage, root: Path):
    os.mkfifo(root / "fifo")
    with pytest.raises(NotFoundError):
        files.get("fifo")
    assert [info.name for info in files.list()] == ["packs/data/ab/one"]


def test_no_descriptor_is_left_open(files: FilesStorage, root: Path):
    (root / "link").symlink_to(root)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        files.put(f"a/b/{number}", b"x")
        files.get(f"a/b/{number}", length=1)
        for refused in (lambda: files.get("a/absent"), lambda: files.get("link/one"), lambda: files.put("a/b/0", b"x")):
            with pytest.raises(StorageError):
                refused()
        listing = files.list("a")
        next(listing)
        listing.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_publication_whose_answer_was_lost_is_a_success(files: FilesStorage, monkeypatch):
    real = os.link

    def link_twice(*given: object, **named: object) -> None:
        real(*given, **named)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    monkeypatch.setattr(os, "link", link_twice)
    files.put("two", b"x")
    assert files.get("two") == b"x"


def test_a_file_system_without_hard_links_still_has_one_winner(files: FilesStorage, root: Path, monkeypatch):
    def refuse(*given: object, **named: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    won: list[int] = []

    def write(number: int) -> None:
        try:
            files.put("race", bytes([number]) * 10)
        except AlreadyExistsError:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert files.get("race") == bytes(won) * 10
    assert leftovers(root) == []


def test_rename_to_new_refuses_a_taken_name(tmp_path: Path):
    (tmp_path / "old").write_bytes(b"new")
    (tmp_path / "taken").write_bytes(b"taken")
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileExistsError):
            renaming.rename_to_new("old", "taken", directory)
        renaming.rename_to_new("old", "free", directory)
    finally:
        os.close(directory)
    assert (tmp_path / "free").read_bytes() == b"new"
    assert (tmp_path / "taken").read_bytes() == b"taken"


def test_what_root_stores_belongs_to_the_owner_of_the_repository(tmp_path: Path) -> None:
    """The server's account reads and writes there, too; for any other account this is so in any case."""
    place = tmp_path / "root"
    place.mkdir()
    owner = _NOBODY if os.geteuid() == 0 else os.geteuid()
    os.chown(place, owner, -1)
    FilesStorage(str(place)).put("wal/1/00000001/one", b"whole")
    assert {path.stat().st_uid for path in place.rglob("*")} == {owner}
