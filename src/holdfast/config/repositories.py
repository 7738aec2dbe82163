"""What the stack file says of a repository: where it is, what opens it, how it is written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationInfo, model_validator

from holdfast.config.base import ENDPOINT_PATTERN, ConfigModel, LocalPath, mistake, resolve_beside_file
from holdfast.config.quantities import Duration, Rate, parse_duration
from holdfast.config.secrets import SecretField

if TYPE_CHECKING:
    from typing import Self

_URL_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_ZSTD_LEVELS = range(1, 20)


def _repository_url(value: str, info: ValidationInfo) -> str:
    if not value:
        raise mistake("a repository's url may not be empty")
    if "\0" in value:
        raise mistake("a repository's url may not hold a zero byte")
    if _URL_SCHEME.match(value):
        if "@" in value.partition("://")[2].partition("/")[0]:
            raise mistake("a repository's url may not hold keys", hint="put them under s3: as secrets")
        return value
    return str(resolve_beside_file(value, info))


def _compression(value: str) -> str:
    if value in {"auto", "none"} or value in {f"zstd-{level}" for level in _ZSTD_LEVELS}:
        return value
    raise mistake(f"not a compression: {value!r}", hint="auto, none, or zstd-1 to zstd-19")


def _plain_or_secret(value: object) -> str:
    return "text" if isinstance(value, str) else "secret"


class S3Config(ConfigModel):
    """How an ``s3://`` repository is reached. Without keys: the environment's, or the machine's own role."""

    endpoint: str | None = Field(None, pattern=ENDPOINT_PATTERN)
    """The server's address, for servers other than AWS: ``https://s3.example.org``."""
    region: str | None = None
    """The region that requests are signed for."""
    access_key_id: (
        Annotated[
            Annotated[str, Tag("text")] | Annotated[SecretField, Tag("secret")],
            Discriminator(_plain_or_secret),
        ]
        | None
    ) = None
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

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise mistake("access_key_id and secret_access_key go together")
        if self.endpoint is not None and self.endpoint.startswith("http://") and not self.allow_http:
            raise mistake("the endpoint has no TLS", hint="use https://, or set allow_http: true on a trusted network")
        return self


class LimitsConfig(ConfigModel):
    """Bounds on the traffic with the repository, shared by all threads."""

    upload: Rate | None = None
    """Bytes written per second at most: ``20MiB``."""
    download: Rate | None = None
    """Bytes read per second at most: ``20MiB``."""


class RepositoryConfig(ConfigModel):
    """One repository: where it is, how it is unlocked, how it is used."""

    url: Annotated[str, AfterValidator(_repository_url)]
    """A directory, or ``s3://bucket/prefix``."""
    passphrase: SecretField | None = None
    """The passphrase of a key slot: a secret."""
    identity: SecretField | None = None
    """A recovery identity, or a writer credential, that opens the repository without a passphrase: a secret."""
    unencrypted: Literal[True] | None = None
    """Says that this repository is not encrypted, in place of passphrase and identity."""
    s3: S3Config | None = None
    """How to reach ``s3://``."""
    compression: Annotated[str, AfterValidator(_compression)] = "auto"
    """``auto`` measures and chooses, for each large file; ``none``; ``zstd-1`` to ``zstd-19``."""
    limits: LimitsConfig = LimitsConfig()
    """Bounds on the traffic."""
    retry_deadline: Duration = Field(parse_duration("5m"), json_schema_extra={"default": "5m"})
    """How long a failing request is tried again before the run fails."""
    threads: int | None = Field(None, ge=1, le=64)
    """How many threads move data; unset: as many as suit the machine."""

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        ways = [self.passphrase, self.identity, self.unencrypted]
        if sum(way is not None for way in ways) != 1:
            raise mistake(
                "a repository has exactly one of passphrase, identity, unencrypted",
                hint="most want passphrase: {file: /etc/holdfast/passphrase}",
            )
        if self.s3 is not None and not self.url.startswith("s3:"):
            raise mistake("s3 options beside a url that is not s3://")
        return self
