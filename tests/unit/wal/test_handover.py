"""The directory in which WAL is handed over: one holder, no half files, and an end that waits for nobody's disk."""

from __future__ import annotations

import os
import stat
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from tests.unit.wal.recovering import OWN_ACCOUNT

from holdfast.errors import BusyError, StorageError
from holdfast.wal.handover import Handover
from holdfast.wal.restore_command import SCRIPT_NAME

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def open_below(directory: Path) -> list[str]:
    """Return what this process has open there; its other threads come and go."""
    links = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            links.append(os.readlink(f"/proc/self/fd/{number}"))
    return [link for link in links if link.startswith(str(directory))]


def test_it_is_there_only_while_it_is_held(spool):
    with Handover(spool, OWN_ACCOUNT) as handover:
        assert stat.S_IMODE(spool.stat().st_mode) == 0o700
        assert (spool / SCRIPT_NAME).exists()
        assert handover.is_in_place
        assert open_below(spool.parent)
        with pytest.raises(BusyError):
            Handover(spool, OWN_ACCOUNT)
    assert (list(spool.parent.iterdir()), handover.is_in_place) == ([], False)
    assert open_below(spool.parent) == []


def test_what_a_killed_process_left_is_cleared_away(spool):
    (spool / "ready" / "deep").mkdir(parents=True)
    (spool / "ready" / "000000010000000000000001").write_bytes(b"old")
    (spool / "link").symlink_to("/etc")
    with Handover(spool, OWN_ACCOUNT) as handover:
        assert not handover.holds("000000010000000000000001")
        assert not (spool / "link").exists()


def test_a_link_in_its_place_is_not_followed(spool, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    spool.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError):
        Handover(spool, OWN_ACCOUNT)
    assert (tmp_path / "elsewhere" / "kept").exists()


def test_a_link_under_a_files_name_is_replaced_and_not_followed(spool, tmp_path):
    (tmp_path / "precious").write_bytes(b"kept")
    with Handover(spool, OWN_ACCOUNT) as handover:
        for name in ("~file", "file"):
            (spool / "ready" / name).symlink_to(tmp_path / "precious")
        handover.publish("file", [b"new"])
        assert (spool / "ready" / "file").read_bytes() == b"new"
        assert not (spool / "ready" / "file").is_symlink()
    assert (tmp_path / "precious").read_bytes() == b"kept"


def test_without_a_directory_to_lie_in_it_is_refused(tmp_path):
    with pytest.raises(StorageError, match="cannot write into"):
        Handover(tmp_path / "nonexistent" / "spool", OWN_ACCOUNT)


def test_it_notices_when_it_is_taken_away(spool):
    handover = Handover(spool, OWN_ACCOUNT)
    spool.rename(spool.with_name("moved"))
    assert not handover.is_in_place
    handover.close()
    assert spool.with_name("moved").exists()


def test_closing_waits_for_files_on_their_way_and_later_ones_are_dropped(spool):
    """Their descriptors must not be closed under them: the numbers would be other files'."""
    for _ in range(20):
        handover = Handover(spool, OWN_ACCOUNT)
        serving = threading.Thread(target=handover.serve, args=(lambda request: None,))
        failures: list[BaseException] = []
        publishing = [threading.Thread(target=publish_many, args=(handover, n, failures)) for n in range(3)]
        for thread in (serving, *publishing):
            thread.start()
        handover.close()
        for thread in (serving, *publishing):
            thread.join(60)
            assert not thread.is_alive()
        assert (failures, list(spool.parent.iterdir())) == ([], [])


def publish_many(handover: Handover, number: int, failures: list[BaseException]) -> None:
    try:
        for each in range(30):
            handover.publish(f"{number}-{each}", [bytes(100_000)])
            handover.withdraw(f"{number}-{each}")
    except Exception as error:  # noqa: BLE001 - it is looked at in the test
        failures.append(error)
