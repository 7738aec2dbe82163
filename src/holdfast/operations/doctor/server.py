"""Whether a PostgreSQL server can be backed up from here, and restored here."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import HoldfastError, ServerError, reason_of
from holdfast.operations.doctor.finding import Finding, State, failed, fine, weak
from holdfast.operations.doctor.identity import ClusterIdentity
from holdfast.operations.wiring import connection_string
from holdfast.postgres.belonging import require_data_directory_of
from holdfast.postgres.binaries import find_binaries
from holdfast.postgres.server import Server
from holdfast.services.postgres.summary_hint import require_summaries_fit

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from holdfast.config.models import ServiceConfig
    from holdfast.postgres.facts import ServerFacts

_SKEW_WARNED = timedelta(seconds=10)


def examine_service(subject: str, config: ServiceConfig) -> Generator[Finding, None, ClusterIdentity | None]:
    """Yield what was found, and return which cluster it is, None where it does not say so.

    What a backup does on the server is tried and undone at once.
    """
    try:
        server = Server.connect(connection_string(config))
    except HoldfastError as error:
        yield failed(subject, error)
        return None
    with server:
        yield _privileges(subject, server)
        try:
            facts = server.probe()
        except HoldfastError as error:
            yield failed(subject, error)
            return None
        role = "a standby" if facts.is_standby else "a primary"
        yield fine(subject, f"PostgreSQL {facts.version} answers, {role}")
        yield _wal(subject, server)
        root = config.data_directory or Path(facts.data_directory)
        directory = _data_directory(subject, server, root, facts)
    yield from _settings(subject, facts)
    if config.wal_summaries == "hint":
        yield _summaries(subject, facts)
    yield directory
    yield binaries_for(subject, config, facts.major)
    return ClusterIdentity(str(facts.system_identifier), facts.major, str(root))


def _privileges(subject: str, server: Server) -> Finding:
    try:
        missing = server.missing_privileges()
    except HoldfastError as error:
        return failed(subject, error)
    if not missing:
        return fine(subject, "the role has the privileges that a backup needs")
    remedy = "run these statements as a superuser, in the database that the connection names"
    return Finding(subject, State.FAILED, "the role lacks privileges that a backup needs", remedy, missing)


def _wal(subject: str, server: Server) -> Finding:
    """Hold WAL as a backup does, which needs wal_level, a free slot, and REPLICATION."""
    try:
        server.release_wal(server.hold_wal())
    except HoldfastError as error:
        return failed(subject, error)
    return fine(subject, "WAL can be held during a backup (wal_level, replication slots)")


def _summaries(subject: str, facts: ServerFacts) -> Finding:
    """Return whether WAL summaries can be followed, as the stack file wants it."""
    try:
        require_summaries_fit(facts)
    except ServerError as error:
        words = f"WAL summaries cannot be followed, so changed files are read whole: {error.message}"
        return weak(subject, words, error.hint or "set 'wal_summaries: ignore'")
    return fine(subject, "WAL summaries can be followed")


def _settings(subject: str, facts: ServerFacts) -> Iterator[Finding]:
    if facts.max_wal_senders == 0:
        yield weak(
            subject,
            "max_wal_senders is 0: WAL cannot be streamed from this server",
            "set max_wal_senders = 10, then restart the server",
        )
    if not facts.has_data_checksums:
        yield checksums_are_off(subject)
    skew = abs(facts.server_time - clock.now())
    if skew > _SKEW_WARNED:
        words = f"the server's clock and this machine's differ by {skew.total_seconds():.0f} s"
        yield weak(subject, words, "set both clocks (timedatectl set-ntp true)")


def checksums_are_off(subject: str) -> Finding:
    """Return the finding about a cluster without page checksums."""
    return weak(
        subject,
        "page checksums are off: a backup cannot notice damage on the server's disks",
        "stop the server, run 'pg_checksums --enable' on its data directory, start it",
    )


def _data_directory(subject: str, server: Server, root: Path, facts: ServerFacts) -> Finding:
    try:
        require_data_directory_of(server, facts, root)
        require_readable(root, facts)
    except HoldfastError as error:
        return failed(subject, error)
    return fine(subject, f"{root} is its data directory, and can be read")


def require_readable(root: Path, facts: ServerFacts) -> None:
    """Raise ServerError when the top of the data directory or a tablespace cannot be read."""
    for place in (root, *(root / space.location for space in facts.tablespaces)):
        refused = _refused_in(place)
        if refused is not None:
            raise ServerError(f"no permission to read {refused}", hint="run as the owner of the cluster or as root")


def _refused_in(place: Path) -> str | None:
    """Return what cannot be read: a directory, or something directly in it."""
    try:
        with os.scandir(place) as listing:
            return next((entry.path for entry in listing if not _is_readable(entry)), None)
    except PermissionError:
        return str(place)
    except OSError as error:
        raise ServerError(
            f"cannot read {place}: {reason_of(error)}", hint="make it visible where backups run"
        ) from error


def _is_readable(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry can be read; of a link, the link itself can always be."""
    if entry.is_symlink():
        return True
    return os.access(entry.path, os.R_OK | os.X_OK if entry.is_dir() else os.R_OK)


def binaries_for(subject: str, config: ServiceConfig, major: int) -> Finding:
    """Return whether what is restored here can be started here."""
    found = find_binaries(major, config.binaries)
    if found is not None:
        return fine(subject, f"PostgreSQL {found.version} is installed here, in {found.directory}, to run a restore")
    return weak(
        subject,
        f"no programs of PostgreSQL {major} here: what is restored here cannot be started here",
        f"install postgresql-{major}, or name its directory in the key 'binaries' of the service",
    )
