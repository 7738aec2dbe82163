"""From a stack file to compiled settings, and from these to an open archive."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from holdfast.config.load import load_stack
from holdfast.errors import NoRepositoryError, VerificationError
from holdfast.operations.wal import opening
from holdfast.operations.wal.compilation import ClusterFacts, compile_settings, spool_directory
from holdfast.repository.init import init_unencrypted
from holdfast.storage.files import FilesStorage
from holdfast.storage.options import Addressing, StorageOptions
from holdfast.wal.settings import WhenFull

FACTS = ClusterFacts("7710580048371250305", 1 << 20, "/var/lib/postgresql/15/main")
STACK = """
stack: shop
repositories:
  main: {{url: {url}, unencrypted: true, compression: {compression}, limits: {{upload: 20MiB}}}}
services:
  db:
    kind: postgres
    connection: host=/run/postgresql
    wal: {{queue_limit: 3GiB, when_full: drop}}
"""


@pytest.fixture
def stack_file(tmp_path: Path) -> Path:
    """A stack file whose repository is made."""
    init_unencrypted(FilesStorage(str(tmp_path / "repository")))
    path = tmp_path / "holdfast.yaml"
    path.write_text(STACK.format(url=tmp_path / "repository", compression="zstd-3"))
    return path


def test_settings_hold_what_the_stack_file_says(stack_file):
    stack = load_stack(stack_file)
    settings = compile_settings(stack_file, stack, "db", FACTS)
    assert settings.spool == str(spool_directory(stack, "db")) == "/var/spool/holdfast/shop/db"
    assert (settings.level, settings.queue_limit, settings.when_full) == (3, 3 << 30, WhenFull.DROP)
    assert settings.storage_options == {"upload_limit_bytes_s": 20 << 20, "retry_deadline_s": 300.0}
    assert settings.keyring is None
    assert settings.source.path == str(stack_file)
    assert settings.program[-2:] == ("-c", str(stack_file))
    again = msgspec.json.decode(msgspec.json.encode(settings), type=type(settings))
    assert again == settings


def test_storage_options_come_through_the_file(monkeypatch):
    options = StorageOptions(
        endpoint="https://s3.example.org",
        access_key_id="id",
        secret_access_key="canary-9a21",
        addressing=Addressing.VIRTUAL_HOST,
        retry_deadline_s=300.0,
    )
    from holdfast.operations.wal import compilation

    given = compilation._given(options)
    stored = msgspec.json.decode(msgspec.json.encode(given))
    assert "request_timeout_s" not in stored
    settings = type("Settings", (), {"storage_options": stored, "segment_size": 16 << 20})
    opened = opening._storage_options(settings)
    patience = {"retry_deadline_s": 15.0, "request_timeout_s": 94.0}
    assert opened == StorageOptions(**{**{k: getattr(options, k) for k in given}, **patience})


@pytest.mark.parametrize(("size_mib", "timeout_s"), [(1, 34), (16, 94), (1024, 300)])
def test_a_storage_that_hangs_is_given_up_as_fast_as_segments_of_this_size_allow(size_mib, timeout_s):
    settings = type("Settings", (), {"storage_options": {}, "segment_size": size_mib << 20})
    assert opening._storage_options(settings).request_timeout_s == timeout_s


def test_only_the_very_repository_is_opened(stack_file, tmp_path):
    settings = compile_settings(stack_file, load_stack(stack_file), "db", FACTS)
    archive = opening.connect(settings)
    assert archive.system_identifier == FACTS.system_identifier
    with pytest.raises(VerificationError, match="the settings are for 00000000"):
        opening.connect(msgspec.structs.replace(settings, repository_id="0" * 32))
    os.rename(tmp_path / "repository", tmp_path / "elsewhere")
    with pytest.raises(NoRepositoryError):
        opening.connect(settings)
    assert not (tmp_path / "repository").exists()
