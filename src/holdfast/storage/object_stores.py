"""Makes obstore's stores from our options: where each cloud's own words for them are known."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from holdfast.errors import UsageError, reason_of
from holdfast.storage.options import Addressing

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, ObjectStore, RetryConfig, S3Config

    from holdfast.storage.options import StorageOptions

# Repeating is the work of our own wrapper, which knows what is safe to repeat and keeps to the deadline.
_NO_RETRY: RetryConfig = {"max_retries": 0}
_CONNECT_TIMEOUT = timedelta(seconds=10)


def make_store(scheme: str, bucket: str, prefix: str | None, options: StorageOptions) -> ObjectStore:
    """Return the store for ``scheme://bucket/prefix``, of the schemes s3, gs and az.

    Raises UsageError for options that obstore cannot work with; nothing is asked of the server yet.
    """
    make = {"s3": _make_s3, "gs": _make_gs, "az": _make_az}[scheme]
    try:
        return make(bucket, prefix, options)
    except (BaseError, ValueError, OSError):
        # "from None": what obstore says may hold the options' values.
        raise UsageError(
            f"the options of {scheme}://{bucket} cannot be used",
            hint="check the credentials, the endpoint and the certificate file",
        ) from None


def _make_s3(bucket: str, prefix: str | None, options: StorageOptions) -> ObjectStore:
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


def _make_gs(bucket: str, prefix: str | None, options: StorageOptions) -> ObjectStore:
    config: GCSConfig = {}
    if options.credentials_file is not None:
        config["service_account"] = options.credentials_file
    return GCSStore(bucket, prefix=prefix, config=config, client_options=_client(options), retry_config=_NO_RETRY)


def _make_az(container: str, prefix: str | None, options: StorageOptions) -> ObjectStore:
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
            content = file.read()
    except OSError as error:
        raise UsageError(
            f"{path}: cannot read the certificate: {reason_of(error)}",
            hint="ca_file is the path of a PEM file",
        ) from error
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise UsageError(f"{path}: holds no certificate", hint="ca_file is the path of a PEM file")
    return content
