"""What the stack file says of a repository: where it is, what opens it, how it is written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from holdfast.config.base import ENDPOINT_PATTERN, After, ConfigModel, LocalPath, MistakeError, resolve_beside_file
from holdfast.config.quantities import Duration, Rate, parse_duration
from holdfast.config.secrets import SecretField

if TYPE_CHECKING:
    from pathlib import Path

_URL_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_ZSTD_LEVELS = range(1, 20)


def _repository_url(value: str, directory: Path) -> str:
    if not value:
        raise MistakeError("a repository's url may not be empty")
    if "\0" in value:
        raise MistakeError("a repository's url may not hold a zero byte")
    if _URL_SCHEME.match(value):
        if "@" in value.partition("://")[2].partition("/")[0]:
            raise MistakeError("a repository's url may not hold keys", hint="put them under s3: as secrets")
        return value
    return str(resolve_beside_file(value, directory))


def _compression(value: str, _: Path) -> str:
    if value in {"auto", "none"} or value in {f"zstd-{level}" for level in _ZSTD_LEVELS}:
        return value
    raise MistakeError(f"not a compression: {value!r}", hint="auto, none, or zstd-1 to zstd-19")


class S3Config(ConfigModel, frozen=True):
    """How an ``s3://`` repository is reached. Without keys: the environment's, or the machine's own role."""

    endpoint: Annotated[str, Meta(pattern=ENDPOINT_PATTERN)] | None = None
    """The server's address, for servers other than AWS: ``https://s3.example.org``."""
    region: str | None = None
    """The region that requests are signed for."""
    access_key_id: str | SecretField | None = None
    """The key's id: a plain text, or a secret."""
    secret_access_key: SecretField | None = None
    """The key itself: a secret."""
    session_token: SecretField | None = None
    """The token of temporary keys: a secret."""
    path_style: bool = True
    """Name the bucket in the path, as every server understands it; ``false`` names it in the host name."""
    allow_http: bool = False
    """Allow an endpoint without TLS."""
    ca_file: LocalPath | None = None
    """A file of certificates (PEM) to trust beside the system's."""

    def check(self) -> None:
        """Require what goes together."""
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise MistakeError("access_key_id and secret_access_key go together")
        if self.endpoint is not None and self.endpoint.startswith("http://") and not self.allow_http:
            raise MistakeError(
                "the endpoint has no TLS", hint="use https://, or set allow_http: true on a trusted network"
            )


class LimitsConfig(ConfigModel, frozen=True):
    """Bounds on the traffic with the repository, shared by all threads."""

    upload: Rate | None = None
    """Bytes written per second at most: ``20MiB``."""
    download: Rate | None = None
    """Bytes read per second at most: ``20MiB``."""


class RepositoryConfig(ConfigModel, frozen=True):
    """One repository: where it is, how it is unlocked, how it is used."""

    url: Annotated[str, After(_repository_url)]
    """A directory, or ``s3://bucket/prefix``."""
    passphrase: SecretField | None = None
    """The passphrase of a key slot: a secret."""
    identity: SecretField | None = None
    """A recovery identity, or a writer credential, that opens the repository without a passphrase: a secret."""
    unencrypted: Literal[True] | None = None
    """Says that this repository is not encrypted, in place of passphrase and identity."""
    s3: S3Config | None = None
    """How to reach ``s3://``."""
    compression: Annotated[str, After(_compression)] = "auto"
    """``auto`` measures and chooses, for each large file; ``none``; ``zstd-1`` to ``zstd-19``."""
    limits: LimitsConfig = LimitsConfig()
    """Bounds on the traffic."""
    retry_deadline: Duration = parse_duration("5m")
    """How long a failing request is tried again before the run fails."""
    threads: Annotated[int, Meta(ge=1, le=64)] | None = None
    """How many threads move data; unset: as many as suit the machine."""

    def check(self) -> None:
        """Require what goes together."""
        ways = [self.passphrase, self.identity, self.unencrypted]
        if sum(way is not None for way in ways) != 1:
            raise MistakeError(
                "a repository has exactly one of passphrase, identity, unencrypted",
                hint="most want passphrase: {file: /etc/holdfast/passphrase}",
            )
        if self.s3 is not None and not self.url.startswith("s3:"):
            raise MistakeError("s3 options beside a url that is not s3://")
