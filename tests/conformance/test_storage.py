"""The contract of ``storage/base.py``, asked of every driver and every stack of wrappers."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import AlreadyExistsError, NotFoundError, StorageError, UsageError

if TYPE_CHECKING:
    from holdfast.storage.base import Storage

# "-" and "." sort before "/", digits and letters after it: the walk of a directory tree has them in another order.
_NAMES = ["a-b", "a.c", "a/b", "a/c/d", "a/c-d", "a0", "b", "packs/data/ab/x", "packs/data-old", "packs/meta/ab/x"]


def test_gives_back_what_was_put(storage: Storage):
    storage.put("packs/data/ab/one", b"some bytes")
    assert bytes(storage.get("packs/data/ab/one")) == b"some bytes"


def test_put_takes_every_kind_of_buffer(storage: Storage):
    reused = bytearray(b"0123456789")
    storage.put("bytearray", reused)
    storage.put("view", memoryview(reused)[2:5])
    storage.put("words", memoryview(reused)[:8].cast("I"))
    reused[:] = b"xxxxxxxxxx"
    assert [bytes(storage.get(name)) for name in ("bytearray", "view", "words")] == [b"0123456789", b"234", b"01234567"]


def test_the_result_of_get_is_a_buffer_with_a_length(storage: Storage):
    storage.put("one", b"abc")
    found = storage.get("one")
    assert isinstance(found, bytes | bytearray | memoryview)
    assert len(found) == memoryview(found).nbytes == 3


def test_an_empty_object_is_an_object(storage: Storage):
    storage.put("empty", b"")
    assert bytes(storage.get("empty")) == b""
    assert storage.stat("empty").size_bytes == 0
    assert [info.name for info in storage.list()] == ["empty"]
    assert bytes(storage.get("empty", offset=0, length=0)) == b""


def test_a_large_object_comes_back_whole(storage: Storage):
    data = os.urandom(1 << 20) * 64
    storage.put("large", memoryview(data))
    assert storage.stat("large").size_bytes == len(data)
    assert storage.get("large") == data
    assert storage.get("large", offset=len(data) - (8 << 20), length=8 << 20) == data[-(8 << 20) :]


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, None, b"0123456789"),
        (0, 10, b"0123456789"),
        (0, 3, b"012"),
        (4, 3, b"456"),
        (7, 3, b"789"),
        (7, None, b"789"),
        (-3, None, b"789"),
        (-10, None, b"0123456789"),
        (0, 0, b""),
        (4, 0, b""),
        (10, 0, b""),
        (10, None, b""),
    ],
)
def test_get_returns_the_range(storage: Storage, offset: int, length: int | None, expected: bytes):
    storage.put("digits", b"0123456789")
    assert bytes(storage.get("digits", offset=offset, length=length)) == expected


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 11), (9, 2), (10, 1), (11, None), (11, 0), (11, 1), (500, 5), (-11, None), (-500, None)]
)
def test_a_range_that_is_not_covered_is_never_returned_short(storage: Storage, offset: int, length: int | None):
    storage.put("digits", b"0123456789")
    with pytest.raises(StorageError, match="does not hold") as caught:
        storage.get("digits", offset=offset, length=length)
    assert not isinstance(caught.value, NotFoundError)


def test_the_end_of_an_empty_object_is_not_covered(storage: Storage):
    storage.put("empty", b"")
    with pytest.raises(StorageError, match="does not hold"):
        storage.get("empty", offset=-1)


@pytest.mark.parametrize(("offset", "length"), [(-3, 1), (0, -1), (-3, 0)])
def test_a_range_that_the_contract_does_not_know_is_refused(storage: Storage, offset: int, length: int):
    storage.put("digits", b"0123456789")
    with pytest.raises(UsageError):
        storage.get("digits", offset=offset, length=length)


@pytest.mark.parametrize("name", ["absent", "there/absent", "there", "there/one/below", "no/such/place"])
def test_what_is_not_there_is_not_found(storage: Storage, name: str):
    storage.put("there/one", b"x")
    for ask in (storage.get, storage.stat, lambda name: storage.get(name, offset=0, length=0)):
        with pytest.raises(NotFoundError):
            ask(name)


def test_nothing_is_found_in_an_empty_storage(storage: Storage):
    with pytest.raises(NotFoundError):
        storage.get("config")
    with pytest.raises(NotFoundError):
        storage.stat("config")
    storage.delete("config")
    assert list(storage.list()) == list(storage.list("packs")) == []


def test_put_refuses_a_taken_name(storage: Storage):
    storage.put("a/one", b"first")
    with pytest.raises(AlreadyExistsError):
        storage.put("a/one", b"second")
    with pytest.raises(AlreadyExistsError):
        storage.put("a/one", b"first")
    assert bytes(storage.get("a/one")) == b"first"


def test_put_replaces_when_it_may(storage: Storage):
    storage.put("sessions/one", b"first", must_not_exist=False)
    storage.put("sessions/one", b"the second", must_not_exist=False)
    assert bytes(storage.get("sessions/one")) == b"the second"
    assert [info.size_bytes for info in storage.list("sessions")] == [10]


def test_of_many_writers_of_one_name_exactly_one_wins(storage: Storage):
    writers = 12
    together = threading.Barrier(writers)

    def write(number: int) -> bool:
        together.wait()
        try:
            storage.put("race/one", f"writer {number}".encode() * 1000)
        except AlreadyExistsError:
            return False
        return True

    with ThreadPoolExecutor(writers) as pool:
        winners = [number for number, won in enumerate(pool.map(write, range(writers))) if won]
    assert len(winners) == 1
    assert bytes(storage.get("race/one")) == f"writer {winners[0]}".encode() * 1000


def test_threads_do_not_disturb_each_other(storage: Storage):
    def work(number: int) -> None:
        data = bytes([number]) * (100_000 + number)
        storage.put(f"packs/data/{number % 4:02x}/{number}", data)
        assert storage.get(f"packs/data/{number % 4:02x}/{number}") == data
        assert bytes(storage.get(f"packs/data/{number % 4:02x}/{number}", offset=number, length=7)) == data[:7]
        if number % 2:
            storage.delete(f"packs/data/{number % 4:02x}/{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))
    assert {info.name.rsplit("/")[-1] for info in storage.list("packs/data")} == {str(n) for n in range(0, 40, 2)}


def test_list_is_in_the_byte_order_of_full_names(storage: Storage):
    for name in reversed(_NAMES):
        storage.put(name, name.encode())
    assert [info.name for info in storage.list()] == sorted(_NAMES, key=str.encode)
    assert [info.size_bytes for info in storage.list()] == [len(name) for name in sorted(_NAMES)]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("a", ["a/b", "a/c-d", "a/c/d"]),
        ("a/c", ["a/c/d"]),
        ("packs/data", ["packs/data/ab/x"]),
        ("packs", ["packs/data-old", "packs/data/ab/x", "packs/meta/ab/x"]),
        ("pack", []),
        ("b", []),
        ("a/b", []),
        ("a/b/c", []),
    ],
)
def test_a_prefix_is_whole_parts_of_a_name(storage: Storage, prefix: str, expected: list[str]):
    for name in _NAMES:
        storage.put(name, b"x")
    assert [info.name for info in storage.list(prefix)] == expected


@pytest.mark.parametrize(
    ("prefix", "after"),
    [
        *(("", after) for after in ["", "a", "a-", "a/b", "a/c", "a/c.", "a/c/d", "packs/data", "packs/x", "z"]),
        *(("a", after) for after in ["a/b", "a/c", "a/c0", "Z", "b"]),
        ("packs", "packs/data"),
    ],
)
def test_a_listing_may_begin_after_any_name(storage: Storage, prefix: str, after: str):
    for name in _NAMES:
        storage.put(name, b"x")
    expected = [info.name for info in storage.list(prefix) if info.name > after]
    assert [info.name for info in storage.list(prefix, after=after)] == expected


def test_a_listing_of_several_pages_is_complete_and_in_order(storage: Storage):
    names = [f"index/{number:05}" for number in range(2100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: storage.put(name, b"."), names))
    assert [info.name for info in storage.list("index")] == names
    assert [info.name for info in storage.list("index", after=names[1049])] == names[1050:]


def test_a_listing_may_be_left_early(storage: Storage):
    for name in _NAMES:
        storage.put(name, b"x")
    assert next(iter(storage.list())).name == "a-b"


def test_delete_may_be_repeated(storage: Storage):
    storage.put("a/one", b"x")
    storage.put("a/two", b"x")
    for _ in range(2):
        storage.delete("a/one")
    storage.delete("never/there")
    storage.delete("a/two/below")
    with pytest.raises(NotFoundError):
        storage.get("a/one")
    assert [info.name for info in storage.list()] == ["a/two"]


def test_a_deleted_name_can_be_put_again(storage: Storage):
    storage.put("a/one", b"first")
    storage.delete("a/one")
    storage.put("a/one", b"second")
    assert bytes(storage.get("a/one")) == b"second"


def test_stat_and_list_tell_size_and_time(storage: Storage):
    storage.put("a/one", b"12345")
    found = storage.stat("a/one")
    assert (found.name, found.size_bytes) == ("a/one", 5)
    assert abs(found.modified - datetime.now(UTC)) < timedelta(seconds=30)
    assert [(info.name, info.size_bytes) for info in storage.list()] == [("a/one", 5)]


@pytest.mark.parametrize(
    "name", ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a/./b", "a b", "a\n", "ä", "~a", "a\0b", "a\\b"]
)
def test_what_cannot_be_a_name_is_refused_by_every_verb(storage: Storage, name: str):
    verbs = [lambda: storage.put(name, b"x"), lambda: storage.get(name), lambda: storage.delete(name)]
    verbs += [lambda: storage.stat(name)] + ([lambda: list(storage.list(name))] if name else [])
    for verb in verbs:
        with pytest.raises(UsageError):
            verb()


def test_the_url_is_a_text_without_secrets(storage: Storage):
    assert storage.url
    assert "HOLDFASTTEST" not in storage.url
