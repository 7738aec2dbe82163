"""A real S3 server, and the repository's section of a stack file that names a bucket in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.servers.versitygw import VersityGateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[VersityGateway]:
    with VersityGateway(tmp_path / "s3") as server:
        yield server


@pytest.fixture
def bucket_section(gateway: VersityGateway, shared_directory: Path) -> dict[str, object]:
    """The section of a repository in a new bucket; the secret is beside the clusters."""
    secret = shared_directory / "secret"
    secret.write_text(gateway.secret_key)
    secret.chmod(0o600)
    s3 = {
        "endpoint": gateway.endpoint,
        "region": gateway.region,
        "allow_http": True,
        "access_key_id": gateway.access_key,
        "secret_access_key": {"file": str(secret)},
    }
    return {"url": f"s3://{gateway.make_bucket('backups')}/shop", "s3": s3, "retry_deadline": "5s"}
