"""Locations as people write them: each right one opens, each wrong one gets a clear line and a hint."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import UsageError
from holdfast.storage.options import StorageOptions
from holdfast.storage.trace import Tally, Verb
from holdfast.storage.url import open_storage

if TYPE_CHECKING:
    from pathlib import Path

_KEYS = StorageOptions(access_key_id="KEY", secret_access_key="SECRET", region="eu-central-1")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("/srv/holdfast", "/srv/holdfast"),
        ("//srv//holdfast/./x/", "/srv/holdfast/x"),
        ("file:///srv/holdfast", "/srv/holdfast"),
        ("FILE:///srv/holdfast", "/srv/holdfast"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("S3://my.bucket-1/some/prefix/", "s3://my.bucket-1/some/prefix"),
    ],
)
def test_a_location_opens_and_is_shown(url: str, shown: str):
    assert open_storage(url, _KEYS).url == shown


@pytest.mark.parametrize(
    ("url", "message", "hint"),
    [
        ("", "empty", "absolute path"),
        ("   ", "empty", "absolute path"),
        ("/", "root of the file system", "directory of its own"),
        ("srv/holdfast", "neither a URL nor an absolute path: srv/holdfast", "did you mean /srv/holdfast?"),
        ("./srv", "neither a URL", "did you mean /srv?"),
        ("~/backup", "not an absolute path", "write it out: /"),
        ("s4://bucket", "unknown kind of location: s4://", "did you mean s3://?"),
        ("ftp://host/x", "unknown kind of location: ftp://", "s3://bucket/prefix"),
        ("https://s3.example.com/bucket", "not a location", "option endpoint"),
        ("s3:/bucket/prefix", "not a location", "did you mean s3://bucket/prefix?"),
        ("s3:bucket", "not a location", "did you mean s3://bucket?"),
        ("s3://", "no bucket", "s3://bucket/prefix"),
        ("s3:///prefix", "no bucket", "s3://bucket/prefix"),
        ("s3://Bucket_", "not the name of a bucket", "3 to 63"),
        ("s3://localhost:9000/bucket", "not the name of a bucket", "option endpoint"),
        ("s3://bucket/pre fix", "not a prefix", "letters"),
        ("s3://bucket/a//b", "not a prefix", "single slashes"),
        ("s3://bucket/../x", "not a prefix", "letters"),
        ("s3://bucket?region=x", "has no query", "options"),
        ("file://srv/holdfast", "cannot name a host", "did you mean file:///srv/holdfast?"),
    ],
)
def test_a_wrong_location_gets_a_line_and_a_hint(url: str, message: str, hint: str):
    with pytest.raises(UsageError) as caught:
        open_storage(url, _KEYS)
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    "url", ["s3://KEY:CANARY@bucket/x", "ftp://me:CANARY@host/", "https://h/b?X-Amz-Signature=CANARY", "s3:a:CANARY@b"]
)
def test_a_secret_in_a_location_is_not_repeated(url: str):
    with pytest.raises(UsageError) as caught:
        open_storage(url, _KEYS)
    assert "CANARY" not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (StorageOptions(endpoint="localhost:9000"), "not an endpoint"),
        (StorageOptions(endpoint="not a url"), "not an endpoint"),
        (StorageOptions(endpoint="http://localhost:9000"), "not encrypted"),
        (StorageOptions(access_key_id="KEY"), "only one is given"),
        (StorageOptions(secret_access_key="CANARY"), "only one is given"),
        (StorageOptions(access_key_id="KEY", secret_access_key="CANARY\n"), "secret access key is empty, or holds"),
        (StorageOptions(access_key_id="", secret_access_key="CANARY"), "access key id is empty"),
        (StorageOptions(region="eu central"), "region is empty, or holds"),
        (StorageOptions(ca_certificate_file="/does/not/exist.pem"), "cannot read the certificate"),
    ],
)
def test_options_that_cannot_be_get_a_line_and_a_hint(options: StorageOptions, message: str):
    with pytest.raises(UsageError) as caught:
        open_storage("s3://bucket/prefix", options)
    assert message in caught.value.message
    assert caught.value.hint
    assert "CANARY" not in f"{caught.value.message} {caught.value.hint}"


def test_a_certificate_file_without_a_certificate_is_refused(tmp_path: Path):
    (tmp_path / "ca.pem").write_text("junk")
    with pytest.raises(UsageError, match="holds no certificate"):
        open_storage("s3://bucket", StorageOptions(ca_certificate_file=str(tmp_path / "ca.pem")))


def test_a_broken_certificate_is_refused(tmp_path: Path):
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n")
    with pytest.raises(UsageError, match="cannot be used"):
        open_storage("s3://bucket", StorageOptions(ca_certificate_file=str(tmp_path / "ca.pem")))


@pytest.mark.parametrize("url", ["gs://bucket/prefix", "az://container/prefix"])
def test_the_other_clouds_open_by_the_same_words(url: str, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    key = "S0VZ" * 8
    assert open_storage(url, StorageOptions(access_key_id="account", secret_access_key=key)).url == url


def test_options_do_not_show_their_secrets():
    assert "CANARY" not in repr(StorageOptions(secret_access_key="CANARY", session_token="CANARY"))


@given(st.text(max_size=40) | st.builds("{}://{}".format, st.sampled_from(["s3", "file"]), st.text(max_size=30)))
def test_any_text_opens_or_is_refused_in_our_own_words(text: str):
    try:
        shown: str | None = open_storage(text, _KEYS).url
    except UsageError as error:
        shown = error.hint
    assert shown


def test_the_stack_counts_each_request_once(tmp_path: Path):
    tally = Tally()
    storage = open_storage(str(tmp_path / "root"), StorageOptions(), tally)
    storage.put("one", bytes(100))
    assert (tally.snapshot()[Verb.PUT].requests, tally.snapshot()[Verb.PUT].moved_bytes) == (1, 100)


def test_a_path_does_not_import_the_library_of_object_stores():
    code = (
        "import sys\nfrom holdfast.storage.options import StorageOptions\n"
        "from holdfast.storage.url import open_storage\n"
        "open_storage('/srv/x', StorageOptions()); sys.exit('obstore' in sys.modules or 'ctypes' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
