"""The archive: append-only, same bytes are success, other bytes are refused and kept apart."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from holdfast.errors import DamageError, NotFoundError
from holdfast.postgres.timeline import Timeline
from holdfast.repository.keys import Keys, new_keyring
from holdfast.storage.memory import MemoryStorage
from holdfast.wal.archive import Pushed, WalArchive, WalConflictError
from holdfast.wal.names import WalFileKind

SEGMENT = "000000010000000000000001"
SYSTEM = "7123456789012345678"


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def archive(storage: MemoryStorage) -> WalArchive:
    return WalArchive(storage, Keys("00" * 16, new_keyring()), SYSTEM)


def test_what_is_pushed_is_there_to_get_and_to_list(archive: WalArchive) -> None:
    assert archive.push(SEGMENT, b"wal" * 1000) is Pushed.NEW
    archive.push("00000002.history", b"1\t0/3000000\tno recovery target specified\n")
    assert archive.get(SEGMENT) == b"wal" * 1000
    assert [(f.name, f.kind) for f in archive.list()] == [
        (SEGMENT, WalFileKind.SEGMENT),
        ("00000002.history", WalFileKind.HISTORY),
    ]
    assert [f.name for f in archive.list(Timeline(2))] == ["00000002.history"]
    assert archive.history(Timeline(2)).entries[0].timeline == 1
    assert archive.stamp(SEGMENT).length_bytes == 3000


def test_a_host_whose_name_is_no_text_archives_as_any_other(
    archive: WalArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sethostname(2) takes any bytes; the archiver of such a host would stand still for ever."""
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename="caf\udce9"))
    assert archive.push(SEGMENT, b"wal") is Pushed.NEW
    assert archive.stamp(SEGMENT).host == "caf?"


def test_fault_01_other_bytes_under_one_name_are_refused_and_kept_apart(archive: WalArchive) -> None:
    archive.push(SEGMENT, b"right")
    for _ in range(2):  # PostgreSQL asks again and again
        with pytest.raises(WalConflictError) as refusal:
            archive.push(SEGMENT, b"other")
    assert archive.get(SEGMENT) == b"right"
    conflicts = [file.name for file in archive.list() if file.kind is WalFileKind.CONFLICT]
    assert len(conflicts) == 1
    assert archive.get(conflicts[0]) == b"other"
    assert conflicts[0] in (refusal.value.hint or "")


def test_fault_02_the_same_bytes_again_are_success(archive: WalArchive) -> None:
    archive.push(SEGMENT, b"same")
    assert archive.push(SEGMENT, b"same") is Pushed.ALREADY_THERE


def test_fault_02_the_same_bytes_again_are_no_success_when_the_stored_copy_is_damaged(
    archive: WalArchive, storage: MemoryStorage
) -> None:
    archive.push(SEGMENT, bytes(100_000))
    (info,) = storage.list()
    stored = bytearray(storage.get(info.name))
    stored[-1] ^= 1
    storage.put(info.name, stored, must_not_exist=False)
    with pytest.raises(DamageError):
        archive.push(SEGMENT, bytes(100_000))


def test_fault_03_a_history_file_is_never_overwritten(archive: WalArchive) -> None:
    archive.push("00000002.history", b"1\t0/3000000\tfirst\n")
    with pytest.raises(WalConflictError):
        archive.push("00000002.history", b"1\t0/4000000\tsecond\n")
    assert archive.get("00000002.history") == b"1\t0/3000000\tfirst\n"


def test_fault_01_another_beginning_of_a_segment_is_kept_beside_the_first(
    archive: WalArchive, storage: MemoryStorage
) -> None:
    archive.push(f"{SEGMENT}.partial", b"of one")
    assert archive.push(f"{SEGMENT}.partial", b"of another") is Pushed.NEW
    assert archive.push(f"{SEGMENT}.partial", b"of another") is Pushed.ALREADY_THERE
    assert archive.push(f"{SEGMENT}.partial", b"of one") is Pushed.ALREADY_THERE
    (beside,) = [file.name for file in archive.list() if file.kind is WalFileKind.OTHER_PARTIAL]
    assert (archive.get(f"{SEGMENT}.partial"), archive.get(beside)) == (b"of one", b"of another")
    place = next(info.name for info in storage.list() if info.name.endswith(beside))
    storage.put(place, storage.get(place)[:-1], must_not_exist=False)
    with pytest.raises(DamageError):
        archive.push(f"{SEGMENT}.partial", b"of another")


def test_what_is_not_there_is_not_found(archive: WalArchive) -> None:
    with pytest.raises(NotFoundError):
        archive.get(SEGMENT)
    with pytest.raises(NotFoundError):
        archive.history(Timeline(3))
    with pytest.raises(NotFoundError):
        archive.stamp(SEGMENT)
