"""Every driver and every stack of wrappers, each as a factory that gives an empty storage."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from tests.servers.versitygw import VersityGateway

from holdfast.storage.files import FilesStorage
from holdfast.storage.limit import Allowance, LimitedStorage
from holdfast.storage.memory import MemoryStorage
from holdfast.storage.options import StorageOptions
from holdfast.storage.retry import RetryingStorage
from holdfast.storage.trace import Tally, TracedStorage
from holdfast.storage.url import open_driver, open_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.storage.base import Storage

_numbers = itertools.count()

_WRAPPERS: dict[str, Callable[[Storage], Storage]] = {
    "memory-retry": lambda inner: RetryingStorage(inner, deadline_s=5.0),
    "memory-limit": lambda inner: LimitedStorage(inner, up=Allowance(1 << 40), down=Allowance(1 << 40)),
    "memory-trace": lambda inner: TracedStorage(inner, Tally()),
}


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VersityGateway]:
    """The S3 server of this run."""
    with VersityGateway(tmp_path_factory.mktemp("versitygw")) as running:
        yield running


def s3_options(gateway: VersityGateway, **changes: object) -> StorageOptions:
    """Return the options that reach a gateway, with ``changes``."""
    known: dict[str, object] = {
        "endpoint": gateway.endpoint,
        "region": gateway.region,
        "access_key_id": gateway.access_key,
        "secret_access_key": gateway.secret_key,
        "plain_http_is_allowed": True,
    }
    return StorageOptions(**{**known, **changes})  # type: ignore[arg-type]


@pytest.fixture
def s3_url(gateway: VersityGateway) -> str:
    """A location in a new bucket."""
    return f"s3://{gateway.make_bucket(f'bucket-{next(_numbers)}')}/some/prefix"


@pytest.fixture(params=["memory", *_WRAPPERS, "files", "files-stack", "s3", "s3-stack"])
def storage(request: pytest.FixtureRequest) -> Storage:
    """An empty storage of each kind."""
    kind: str = request.param
    if kind.startswith("memory"):
        return _WRAPPERS.get(kind, lambda inner: inner)(MemoryStorage())
    if kind.startswith("files"):
        path = str(request.getfixturevalue("tmp_path") / "repository")
        return FilesStorage(path) if kind == "files" else open_storage(path, StorageOptions(), Tally())
    url, options = request.getfixturevalue("s3_url"), s3_options(request.getfixturevalue("gateway"))
    return open_driver(url, options) if kind == "s3" else open_storage(url, options, Tally())
