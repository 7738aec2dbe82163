"""Sessions: who is alive, who is stale, and who gives way."""

from __future__ import annotations

import os
import subprocess
from datetime import timedelta

import msgspec
import pytest
from tests.unit.repository.building import make_repository

from holdfast import clock, process
from holdfast.errors import BusyError, DamageError, PermissionRefusedError
from holdfast.repository import session
from holdfast.repository.sealed import ObjectType, seal_object
from holdfast.repository.session import Session, SessionRecord, _new_record, _seal, read_sessions, withdraw
from holdfast.storage.memory import MemoryStorage


@pytest.fixture
def storage() -> MemoryStorage:
    """A repository's storage."""
    return MemoryStorage()


@pytest.fixture
def keys(storage: MemoryStorage):
    """The keys of a repository."""
    return make_repository(storage).keys


def leave(storage: MemoryStorage, keys, **changes: object) -> SessionRecord:
    """Store a session record of some other process."""
    record = msgspec.structs.replace(_new_record("shop", "db"), **changes)
    storage.put(record.object_name, _seal(keys, record))
    return record


def ended_process() -> tuple[int, str]:
    """Return a process id that was ours, and no longer is."""
    with subprocess.Popen(["sleep", "60"]) as child:
        started = process.began(child.pid)
        child.kill()
    return child.pid, started


def test_a_session_is_seen_while_it_is_open(storage: MemoryStorage, keys) -> None:
    opened, others = Session.open(storage, keys, "shop", "db")
    assert others == []
    (record,) = read_sessions(storage, keys)
    assert (record.stack, record.service, record.pid) == ("shop", "db", os.getpid())
    assert record.is_alive(clock.now())
    opened.close()
    assert list(read_sessions(storage, keys)) == []


def test_a_process_that_is_gone_is_stale_at_once(storage: MemoryStorage, keys) -> None:
    pid, started = ended_process()
    record = leave(storage, keys, pid=pid, process_started=started)
    assert not record.is_alive(clock.now())
    opened, others = Session.open(storage, keys, "shop", "db")
    assert others == [record]
    opened.close()


def test_a_process_number_used_again_is_not_taken_for_the_old_one(storage: MemoryStorage, keys) -> None:
    assert not leave(storage, keys, process_started="1").is_alive(clock.now())


def test_another_host_is_alive_while_it_is_heard_of(storage: MemoryStorage, keys) -> None:
    lately = (clock.now() - timedelta(minutes=9)).isoformat()
    long_ago = (clock.now() - timedelta(minutes=11)).isoformat()
    assert leave(storage, keys, id="1" * 32, boot_id="other", seen=lately).is_alive(clock.now())
    assert not leave(storage, keys, id="2" * 32, boot_id="other", seen=long_ago).is_alive(clock.now())


def test_another_container_of_this_host_is_judged_by_its_heartbeat(storage: MemoryStorage, keys) -> None:
    boot = session._boot_id().split()[0]
    record = leave(storage, keys, boot_id=f"{boot} pid:[1]", pid=999_999_999)
    assert record.is_alive(clock.now())


def test_a_living_writer_of_the_same_service_keeps_others_out(storage: MemoryStorage, keys) -> None:
    earlier = (clock.now() - timedelta(minutes=5)).isoformat(timespec="microseconds")
    leave(storage, keys, boot_id="other", host="elsewhere", started=earlier)
    with pytest.raises(BusyError, match="elsewhere"):
        Session.open(storage, keys, "shop", "db")
    opened, _ = Session.open(storage, keys, "shop", "mail")
    opened.close()


def test_of_two_that_start_at_once_the_later_gives_way(storage: MemoryStorage, keys) -> None:
    later = (clock.now() + timedelta(seconds=5)).isoformat(timespec="microseconds")
    leave(storage, keys, started=later, boot_id="other")
    opened, _ = Session.open(storage, keys, "shop", "db")
    opened.close()


def test_heartbeats_replace_each_other(storage: MemoryStorage, keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_BEAT_EVERY_S", 0.01)
    opened, _ = Session.open(storage, keys, "shop", "db")
    deadline = clock.monotonic() + 60
    while opened._record.beat < 3 and clock.monotonic() < deadline:
        clock.sleep(0.01)
    assert opened._record.beat >= 3
    assert len(list(read_sessions(storage, keys))) == 1
    opened.close()
    assert list(storage.list("sessions")) == []


def test_only_the_newest_heartbeat_counts(storage: MemoryStorage, keys) -> None:
    first = leave(storage, keys)
    second = msgspec.structs.replace(first, beat=1)
    storage.put(second.object_name, _seal(keys, second))
    assert list(read_sessions(storage, keys)) == [second]


def test_a_damaged_session_says_what_to_do(storage: MemoryStorage, keys) -> None:
    storage.put("sessions/" + "1" * 32 + "-000000", b"junk")
    with pytest.raises(DamageError, match="sessions/") as caught:
        Session.open(storage, keys, "shop", "db")
    assert "no backup is running" in (caught.value.hint or "")


@pytest.mark.parametrize("seen", ["", "just now", "2026-11-21T10:00:00"])
def test_a_session_that_was_heard_of_at_no_time_is_damage(storage: MemoryStorage, keys, seen: str) -> None:
    """Any writer could have every backup end with an internal error."""
    leave(storage, keys, seen=seen)
    with pytest.raises(DamageError, match="cannot be read"):
        list(read_sessions(storage, keys))


def test_a_session_that_is_none_or_another_is_damage(storage: MemoryStorage, keys) -> None:
    name = "sessions/" + "1" * 32 + "-000000"
    storage.put(name, seal_object(keys, ObjectType.SESSION, name, b"[]"))
    with pytest.raises(DamageError, match="cannot be read"):
        list(read_sessions(storage, keys))
    record = msgspec.json.encode(_new_record("shop", "db"))
    storage.put(name, seal_object(keys, ObjectType.SESSION, name, record), must_not_exist=False)
    with pytest.raises(DamageError, match="says that it is"):
        list(read_sessions(storage, keys))


class LockedStorage(MemoryStorage):
    """Forbids deletion, as a locked bucket does."""

    def delete(self, name: str) -> None:
        """Refuse."""
        raise PermissionRefusedError(f"delete {name}: the object is locked")


def test_a_store_that_forbids_deletion_is_no_error() -> None:
    storage = LockedStorage()
    keys = make_repository(storage).keys
    opened, _ = Session.open(storage, keys, "shop", "db")
    opened.close()
    withdraw(storage, opened._record)
    assert len(list(read_sessions(storage, keys))) == 1
