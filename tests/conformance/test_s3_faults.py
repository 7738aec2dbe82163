"""What goes wrong with object stores: told in our words, and nothing is acknowledged that is not there."""

from __future__ import annotations

import os
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from tests.conformance.conftest import s3_options
from tests.conformance.lying_s3 import HIDDEN_ERROR, LyingServer, page, running
from tests.servers.versitygw import VersityGateway

from holdfast.errors import (
    HoldfastError,
    NotFoundError,
    PermissionRefusedError,
    StorageError,
    TransientStorageError,
)
from holdfast.storage.url import open_driver, open_storage

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.storage.options import StorageOptions

_DATA = bytes(range(256)) * 40_000  # larger than a part of a multipart upload


def told(error: BaseException) -> str:
    """Return all that an error would ever show."""
    hint = error.hint if isinstance(error, HoldfastError) else ""
    return f"{''.join(traceback.format_exception(error))} {hint}"


def patient(options: StorageOptions) -> StorageOptions:
    """Return options with time for repetition."""
    return replace(options, retry_deadline_s=30.0)


def test_fault_08_an_error_in_the_body_of_a_success_is_not_acknowledged():
    with running(LyingServer(lambda data: None)) as server:
        storage = open_storage("s3://bucket/prefix", server.options)
        for must_not_exist in (True, False):
            with pytest.raises(TransientStorageError, match="acknowledged by the server, and not there"):
                storage.put("one", _DATA, must_not_exist=must_not_exist)


def test_fault_08_a_success_that_is_no_answer_of_an_object_store_is_not_acknowledged():
    with running(LyingServer(lambda data: None)) as server:
        server.etag_is_sent = False
        storage = open_storage("s3://bucket/prefix", server.options)
        with pytest.raises(TransientStorageError, match="not one of an object store"):
            storage.put("one", _DATA)


@pytest.mark.parametrize("junk", [HIDDEN_ERROR, b"<html><body>log in</body></html>"])
def test_fault_21_a_page_of_a_listing_that_is_none_does_not_end_it(junk: bytes):
    names = ["a", "b", "c", "d"]
    honest = [page("a", "b", more_follow=True), page("c", "d"), page("d")]
    with running(LyingServer(lambda data: data)) as server:
        server.listings = iter([page("a", "b", more_follow=True), junk, page("b", "c", "d"), page("d")])
        assert [info.name for info in open_storage("s3://bucket", server.options).list()] == names
        server.listings = iter([junk, *honest])
        assert [info.name for info in open_storage("s3://bucket", server.options).list()] == names
        server.listings = iter([*honest[:2], junk, *honest])
        assert [info.name for info in open_storage("s3://bucket", patient(server.options)).list()] == names
        server.listings = iter([page("a", "b"), junk])
        with pytest.raises(TransientStorageError, match="another end"):
            list(open_storage("s3://bucket", server.options).list())


def test_a_listing_takes_in_what_is_added_at_its_end():
    with running(LyingServer(lambda data: data)) as server:
        server.listings = iter([page("a", "b"), page("b", "c"), page("c")])
        assert [info.name for info in open_storage("s3://bucket", server.options).list()] == ["a", "b", "c"]


def test_a_server_that_lists_out_of_order_is_refused():
    with running(LyingServer(lambda data: data)) as server:
        server.listings = iter([page("a", "c", "b")])
        with pytest.raises(StorageError, match="out of order"):
            list(open_storage("s3://bucket", server.options).list())


def test_fault_08_an_error_in_the_body_of_a_success_is_repeated():
    answers = iter([None, None, _DATA])
    with running(LyingServer(lambda data: next(answers))) as server:
        open_storage("s3://bucket/prefix", patient(server.options)).put("one", _DATA)
        assert server.objects == {"/bucket/prefix/one": _DATA}


@pytest.mark.parametrize("kept_bytes", [0, 1, len(_DATA) // 2, len(_DATA) - 1])
def test_fault_08_a_truncated_stored_object_is_not_acknowledged(kept_bytes: int):
    with running(LyingServer(lambda data: data[:kept_bytes])) as server:
        storage = open_storage("s3://bucket", patient(server.options))
        with pytest.raises(StorageError, match=f"holds {kept_bytes} bytes of {len(_DATA)}"):
            storage.put("one", _DATA)


def test_fault_08_a_stored_object_with_another_checksum_is_not_acknowledged():
    with running(LyingServer(lambda data: data[:-1] + b"?")) as server:
        storage = open_storage("s3://bucket", server.options)
        with pytest.raises(StorageError, match="holds other bytes"):
            storage.put("one", _DATA)


def test_an_etag_that_is_no_checksum_is_found_out_once():
    with running(LyingServer(lambda data: data, etag=lambda data: "0" * 32)) as server:
        storage = open_storage("s3://bucket", server.options)
        for name in ("one", "two", "three"):
            storage.put(name, _DATA)
        assert [request for request in server.requests if request.startswith("GET")] == ["GET /bucket/one"]


def test_an_upload_is_one_request_and_never_in_parts():
    with running(LyingServer(lambda data: data)) as server:
        open_storage("s3://bucket", server.options).put("one", _DATA, must_not_exist=False)
        assert server.requests == ["PUT /bucket/one", "HEAD /bucket/one"]


def test_fault_21_a_listing_that_loses_its_server_raises(tmp_path: Path):
    with VersityGateway(tmp_path) as gateway:
        gateway.make_bucket("bucket")
        storage = open_storage("s3://bucket", s3_options(gateway, retry_deadline_s=0))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: storage.put(f"index/{number:05}", b"."), range(2500)))
        listing = storage.list("index")
        seen = [next(listing).name]
        gateway.stop()
        with pytest.raises(TransientStorageError, match="no answer"):
            seen.extend(info.name for info in listing)
        assert len(seen) < 2500


def test_a_listing_goes_on_when_its_server_comes_back(tmp_path: Path):
    with VersityGateway(tmp_path) as gateway:
        gateway.make_bucket("bucket")
        storage = open_storage("s3://bucket", s3_options(gateway, retry_deadline_s=30))
        names = [f"index/{number:05}" for number in range(1500)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: storage.put(name, b"."), names))
        listing = storage.list("index")
        seen = [next(listing).name]
        gateway.stop()
        with ThreadPoolExecutor(1) as pool:
            rest = pool.submit(lambda: [info.name for info in listing])
            gateway.start()
            seen += rest.result()
        assert seen == names


def test_a_server_that_is_not_there_is_given_up_after_the_deadline(gateway: VersityGateway):
    gone = LyingServer(lambda data: data)
    gone.server_close()
    options = s3_options(gateway, endpoint=f"http://127.0.0.1:{gone.server_port}", retry_deadline_s=0.3)
    storage = open_storage("s3://bucket", options)
    for verb in (lambda: storage.stat("one"), lambda: storage.put("one", b"x"), lambda: list(storage.list())):
        with pytest.raises(TransientStorageError, match=r"no answer \(ConnectionRefused\)") as caught:
            verb()
        assert caught.value.hint


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"secret_access_key": "CANARYCANARYCANARY"}, "check the secret access key"),
        ({"access_key_id": "CANARYCANARY"}, "check the access key id"),
    ],
)
def test_refused_credentials_are_told_without_repeating_them(
    gateway: VersityGateway, s3_url: str, changes: dict[str, object], hint: str
):
    options = s3_options(gateway, **changes)
    storage = open_storage(s3_url, options)
    hints: list[str | None] = []
    for verb in (
        lambda: storage.get("one"),
        lambda: storage.put("one", b"x"),
        lambda: storage.delete("one"),
        lambda: list(storage.list()),
        lambda: storage.stat("one"),
    ):
        with pytest.raises(PermissionRefusedError) as caught:
            verb()
        hints.append(caught.value.hint)
        for secret in ("CANARY", str(options.access_key_id), str(options.secret_access_key), "Signature="):
            assert secret not in told(caught.value)
    # A HEAD has no body, so the server cannot say which of the two it does not like.
    assert hints == [hint] * 4 + ["check the credentials, and what they allow on this bucket"]


def test_a_bucket_that_is_not_there_is_not_an_absent_object(gateway: VersityGateway):
    storage = open_storage("s3://no-such-bucket/prefix", s3_options(gateway))
    for verb in (
        lambda: storage.get("one"),
        lambda: storage.put("one", b"x"),
        lambda: storage.delete("one"),
        lambda: list(storage.list()),
    ):
        with pytest.raises(StorageError, match="NoSuchBucket") as caught:
            verb()
        assert not isinstance(caught.value, NotFoundError)
        assert "create the bucket" in (caught.value.hint or "")


def test_a_server_without_tls_is_not_tried_again(gateway: VersityGateway):
    options = s3_options(gateway, endpoint=gateway.endpoint.replace("http:", "https:"), retry_deadline_s=100)
    with pytest.raises(StorageError, match="no trusted TLS connection") as caught:
        open_storage("s3://bucket", options).stat("one")
    assert not isinstance(caught.value, TransientStorageError)


def test_an_object_truncated_at_rest_is_never_read_short(gateway: VersityGateway, s3_url: str):
    storage = open_driver(s3_url, s3_options(gateway))
    storage.put("one", _DATA)
    _, _, bucket, *_ = s3_url.split("/")
    os.truncate(gateway.bucket_directory(bucket) / "some/prefix/one", 1000)
    with pytest.raises(StorageError, match="does not hold"):
        storage.get("one", offset=0, length=len(_DATA))
    assert storage.stat("one").size_bytes == 1000
