"""From the stack file to objects: storages, repositories and services, made in one place.

Adapters and writers are imported where they are made, so that commands that need none of them start quickly.
"""

from __future__ import annotations

import os
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from holdfast.config.choose import choose_repository, choose_service
from holdfast.repository.cache import ObjectCache, default_cache_root
from holdfast.repository.identity import parse_identity
from holdfast.repository.opening import open_repository
from holdfast.repository.unlock import Identity, Passphrase
from holdfast.storage.options import Addressing, StorageOptions
from holdfast.storage.url import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.config.models import Stack
    from holdfast.config.postgres import PostgresConfig
    from holdfast.config.repositories import RepositoryConfig, S3Config
    from holdfast.config.secrets import Secret, SecretSource
    from holdfast.repository.repository import Repository
    from holdfast.repository.writer import WriterOptions
    from holdfast.services.base import Service
    from holdfast.storage.base import Storage


def open_stack_repository(
    stack: Stack, asked: str | None = None, service: str | None = None, *, needs: Iterable[str] = ()
) -> Repository:
    """Open the repository that a command means: the one asked for, the service's own, or the only one.

    ``needs`` names the modules that come next: they are imported while a passphrase is stretched on another core.
    """
    _, config = choose_repository(stack, asked=asked, service=service)
    return open_repository(make_storage(config), make_unlock(config), make_cache, partial(_load, needs))


def _load(modules: Iterable[str]) -> None:
    for module in modules:
        import_module(module)


def make_storage(config: RepositoryConfig) -> Storage:
    """Return the storage of a repository, in all its wrappers."""
    return open_storage(config.url, storage_options(config))


def make_cache(repository_id: str) -> ObjectCache:
    """Return the local cache of a repository."""
    return ObjectCache(default_cache_root(), repository_id)


def make_unlock(config: RepositoryConfig) -> Passphrase | Identity | None:
    """Return the secret that opens a repository, None for an unencrypted one; the secret is read now."""
    if config.passphrase is not None:
        return Passphrase(config.passphrase.read().reveal().encode())
    if config.identity is not None:
        return Identity(parse_identity(config.identity.read().reveal()))
    return None


def writer_options(config: RepositoryConfig, *, verifies_all: bool) -> WriterOptions:
    """Return how a backup writes into a repository."""
    from holdfast.repository.writer import WriterOptions

    threads = config.threads or WriterOptions.threads
    return WriterOptions(compression=config.compression, threads=threads, verifies_all=verifies_all)


def make_service(stack: Stack, name: str) -> Service:
    """Return a service of the stack."""
    from holdfast.services.postgres.capture import PostgresOptions, PostgresService

    config = choose_service(stack, name)
    options = PostgresOptions(
        conninfo=connection_string(config),
        label=f"holdfast {stack.stack}/{name}",
        data_directory=config.data_directory,
        rehash_every=config.rehash_every if config.wal_summaries == "hint" else None,
    )
    if config.method == "replication":
        from holdfast.services.postgres.replication import ReplicationService  # no other backup needs its modules

        return ReplicationService(options)
    return PostgresService(options)


def connection_string(config: PostgresConfig) -> str:
    """Return how a server is reached, with the password where one is configured."""
    if config.password is None:
        return config.connection
    from psycopg.conninfo import make_conninfo

    return make_conninfo(config.connection, password=config.password.read().reveal())


def storage_options(config: RepositoryConfig) -> StorageOptions:
    """Return how a repository's location is reached; secrets are read now."""
    s3 = config.s3
    if s3 is None:
        return StorageOptions(
            retry_deadline_s=config.retry_deadline.total_seconds(),
            upload_limit_bytes_s=config.limits.upload,
            download_limit_bytes_s=config.limits.download,
        )
    return StorageOptions(
        endpoint=s3.endpoint,
        region=s3.region,
        access_key_id=_key_id(s3),
        secret_access_key=_revealed(s3.secret_access_key),
        session_token=_revealed(s3.session_token),
        addressing=Addressing.PATH if s3.path_style else Addressing.VIRTUAL_HOST,
        plain_http_is_allowed=s3.allow_http,
        ca_certificate_file=os.fspath(s3.ca_file) if s3.ca_file else None,
        retry_deadline_s=config.retry_deadline.total_seconds(),
        upload_limit_bytes_s=config.limits.upload,
        download_limit_bytes_s=config.limits.download,
    )


def _key_id(s3: S3Config) -> str | None:
    return s3.access_key_id if isinstance(s3.access_key_id, str) else _revealed(s3.access_key_id)


def _revealed(source: SecretSource | None) -> str | None:
    if source is None:
        return None
    secret: Secret = source.read()
    return secret.reveal()
