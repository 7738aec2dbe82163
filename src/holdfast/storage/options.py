"""How a location is reached: the options beside its URL, as typed values. Secrets are never shown by ``repr``."""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec


class Addressing(Enum):
    """Where an S3 request names its bucket."""

    PATH = "path"
    """``https://endpoint/bucket/...``: what most servers other than Amazon's expect."""
    VIRTUAL_HOST = "virtual-host"
    """``https://bucket.endpoint/...``: the endpoint must then begin with the bucket's name."""


class StorageOptions(msgspec.Struct, frozen=True):
    """Options of a location. What is None is left to the server, or to the environment of the machine.

    ``access_key_id`` and ``secret_access_key`` are the account name and the account key for ``az://``;
    ``credentials_file`` is the service account's JSON for ``gs://``; ``ca_certificate_file`` (PEM) is trusted beside
    the system's own. ``retry_deadline_s`` counts from the first failure of a request. Limits are bytes per second.
    """

    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None
    credentials_file: str | None = None
    addressing: Addressing = Addressing.PATH
    plain_http_is_allowed: bool = False
    ca_certificate_file: str | None = None
    request_timeout_s: float = 300.0
    retry_deadline_s: float = 60.0
    upload_limit_bytes_s: int | None = None
    download_limit_bytes_s: int | None = None

    def __repr__(self) -> str:
        return f"StorageOptions({self.endpoint or 'no endpoint'})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return what may be shown: a traceback drawn by rich would take every value."""
        return [("endpoint", self.endpoint)]
