"""Makes obstore's stores from our options: where each cloud's own words for them are known."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from obstore.store import AzureStore, GCSStore, S3Store

from holdfast.errors import UsageError
from holdfast.storage.options import Addressing

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, ObjectStore, RetryConfig, S3Config

    from holdfast.storage.options import StorageOptions

# Repeating is the work of our own wrapper, which knows what is safe to repeat and keeps to the deadline.
_NO_RETRY: RetryConfig = {"max_retries": 0}
_CONNECT_TIMEOUT = timedelta(seconds=10)


def make_s3(bucket: str, prefix: str | None, options: StorageOptions) -> ObjectStore:
    """Return the store for ``s3://bucket/prefix``; raises UsageError for options that cannot be."""
    config: S3Config = {"virtual_hosted_style_request": options.addressing is Addressing.VIRTUAL_HOST}
    if options.endpoint is not None:
        config["endpoint"] = options.endpoint
    if options.region is not None:
        config["region"] = options.region
    if options.access_key_id is not None:
        config["access_key_id"] = options.access_key_id
    if options.secret_access_key is not None:
        config["secret_access_key"] = options.secret_access_key
    if options.session_token is not None:
        config["session_token"] = options.session_token
    return S3Store(bucket, prefix=prefix, config=config, client_options=_client(options), retry_config=_NO_RETRY)


def make_gs(bucket: str, prefix: str | None, options: StorageOptions) -> ObjectStore:
    """Return the store for ``gs://bucket/prefix``."""
    config: GCSConfig = {}
    if options.credentials_file is not None:
        config["service_account"] = options.credentials_file
    return GCSStore(bucket, prefix=prefix, config=config, client_options=_client(options), retry_config=_NO_RETRY)


def make_az(container: str, prefix: str | None, options: StorageOptions) -> ObjectStore:
    """Return the store for ``az://container/prefix``."""
    config: AzureConfig = {}
    if options.endpoint is not None:
        config["endpoint"] = options.endpoint
    if options.access_key_id is not None:
        config["account_name"] = options.access_key_id
    if options.secret_access_key is not None:
        config["account_key"] = options.secret_access_key
    return AzureStore(container, prefix=prefix, config=config, client_options=_client(options), retry_config=_NO_RETRY)


def _client(options: StorageOptions) -> ClientConfig:
    client: ClientConfig = {
        "allow_http": options.plain_http_is_allowed,
        "connect_timeout": _CONNECT_TIMEOUT,
        "timeout": timedelta(seconds=options.request_timeout_s),
    }
    if options.ca_certificate_file is not None:
        client["root_certificate"] = _read_certificate(options.ca_certificate_file)
    return client


def _read_certificate(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageError(
            f"{path}: cannot read the certificate: {(error.strerror or str(error)).lower()}",
            hint="ca_certificate_file is the path of a PEM file",
        ) from error
