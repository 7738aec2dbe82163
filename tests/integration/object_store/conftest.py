"""A real S3 server, and the repository's section of a stack file that names a bucket in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.servers.versitygw import VersityGateway, repository_section

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
    return {**repository_section(gateway, shared_directory), "retry_deadline": "5s"}
