"""What the stack file says of a PostgreSQL service: its server, its archive, and how it is restored."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import parse_qs, urlsplit

from msgspec import Meta

from holdfast.config.base import SLOT_PATTERN, After, ConfigModel, LocalPath, MistakeError, Name
from holdfast.config.quantities import Duration, Size, parse_duration, parse_size
from holdfast.config.secrets import SecretField

if TYPE_CHECKING:
    from pathlib import Path

_CONNECTION_PASSWORD = re.compile(r"(?:^|\s)(?:ssl)?password\s*=")


def _connection(value: str, _: Path) -> str:
    """Refuse a password inside the connection string: it would be seen in logs and process lists."""
    try:
        parts = urlsplit(value) if value.startswith(("postgresql://", "postgres://")) else None
    except ValueError:
        raise MistakeError(
            "the connection is no URL that can be read", hint="write it like postgresql://user@host:5432/database"
        ) from None
    if parts is None:
        holds_password = _CONNECTION_PASSWORD.search(value) is not None
    else:
        holds_password = parts.password is not None or bool({"password", "sslpassword"} & parse_qs(parts.query).keys())
    if holds_password:
        raise MistakeError(
            "a password may not stand in the connection", hint="write password: {file: /path/to/it} beside it"
        )
    return value


class PgCtlConfig(ConfigModel, frozen=True):
    """A server that ``pg_ctl`` starts and stops, as the owner of its data directory."""

    log: LocalPath
    """The file that the server's own output goes to (``pg_ctl -l``); the owner of the data directory writes it."""
    options: Annotated[str, Meta(min_length=1)] | None = None
    """Options for the server (``pg_ctl -o``): ``-c config_file=/etc/postgresql/15/main/postgresql.conf``."""


class ServerConfig(ConfigModel, frozen=True):
    """How the server is stopped and started for a restore in place: exactly one way."""

    systemd: Annotated[str, Meta(min_length=1)] | None = None
    """A systemd unit: ``postgresql@15-main``."""
    pg_ctl: PgCtlConfig | None = None
    """By ``pg_ctl`` itself."""
    stop: Annotated[list[str], Meta(min_length=1)] | None = None
    """A command with its arguments, each an item of the list; no shell reads it. It goes with ``start``."""
    start: Annotated[list[str], Meta(min_length=1)] | None = None
    """The same for starting. It may return before the server takes connections."""

    def check(self) -> None:
        """Require what goes together."""
        if (self.stop is None) != (self.start is None):
            raise MistakeError("stop and start go together")
        if sum(way is not None for way in (self.systemd, self.pg_ctl, self.stop)) != 1:
            raise MistakeError(
                "a server is stopped and started in exactly one way: systemd, pg_ctl, or stop and start",
                hint="most want systemd: UNIT, such as postgresql@15-main",
            )


class RestoreConfig(ConfigModel, frozen=True):
    """How a service is restored in place."""

    server: ServerConfig | None = None
    """How its server is stopped and started. Needed to restore in place."""
    checks: dict[str, Annotated[list[str], Meta(min_length=1)]] = {}
    """SQL statements by database. What is restored goes into service only if each succeeds, and the first value of its
    first row is neither false nor null."""
    check_timeout: Duration = parse_duration("5m")
    """How long each of them may take; one that takes longer has failed."""
    amcheck: bool = True
    """Let ``pg_amcheck`` look through every table and index before the restored cluster goes into service."""
    staging: LocalPath | None = None
    """The directory in which the data directory is staged; unset: the one that the live data directory lies in. It must
    be on the same file system."""
    state: LocalPath | None = None
    """Where the journal and the records of checkpoints and unfinished swaps are; unset:
    ``/var/lib/holdfast/STACK/SERVICE``."""
    stop_timeout: Duration = parse_duration("1m")
    """How long the server may take to stop."""
    start_timeout: Duration = parse_duration("1m")
    """How long it may take until it takes connections."""


class WalConfig(ConfigModel, frozen=True):
    """How a service's WAL is shipped; ``holdfast wal setup`` puts it into effect."""

    spool: LocalPath | None = None
    """The directory that the server's account and Holdfast share while WAL is shipped; unset:
    ``/var/spool/holdfast/STACK/SERVICE``."""
    queue_limit: Size = parse_size("16GiB")
    """How much WAL may wait to be archived before the queue counts as full."""
    when_full: Literal["keep", "drop"] = "keep"
    """What becomes of WAL that cannot be archived while the queue is full: ``keep`` leaves it in pg_wal and raises the
    alarm; ``drop`` gives it up, oldest first, and records the gap: no recovery across it without a new backup."""
    slot: Annotated[str, Meta(pattern=SLOT_PATTERN)] | None = None
    """The physical replication slot of ``holdfast wal receive``, and the name that ``synchronous_standby_names`` may
    list; unset: ``holdfast_SERVICE``."""
    piece_interval: Duration = parse_duration("0.5s")
    """How long received WAL may wait before it is stored, while more keeps coming in: what can be lost at most, and how
    often an object store is written to."""


class PostgresConfig(ConfigModel, frozen=True):
    """A PostgreSQL cluster."""

    kind: Literal["postgres"]
    """``postgres``."""
    connection: Annotated[str, Meta(min_length=1), After(_connection)]
    """How to reach the server, as libpq writes it: ``host=/run/postgresql port=5432 user=postgres dbname=postgres``."""
    password: SecretField | None = None
    """The role's password, where the server asks for one: a secret."""
    method: Literal["data_directory", "replication"] = "data_directory"
    """How its files are read: from the ``data_directory``, which must be visible here and is fastest; or by the
    ``replication`` protocol, for a server whose files cannot be reached (15 and later)."""
    data_directory: LocalPath | None = None
    """Where the data directory is seen from here; unset: where the server says it is."""
    wal_summaries: Literal["ignore", "hint"] = "ignore"
    """Whether a backup believes the server's WAL summaries (``summarize_wal``, 17 and later): ``hint`` reads of changed
    tables and indexes only the pages that they name; ``ignore`` reads all, and their content decides."""
    rehash_every: Duration = parse_duration("7d")
    """With ``wal_summaries: hint``: how long they are believed before a backup reads all pages again, and reports each
    one that they missed."""
    repository: Name | None = None
    """The repository that its snapshots go to; may be left out when there is only one."""
    binaries: LocalPath | None = None
    """The directory of this PostgreSQL version's programs; unset: found by version."""
    tags: list[Name] = []
    """Words put on every snapshot of this service."""
    restore: RestoreConfig = RestoreConfig()
    """How it is restored in place."""
    wal: WalConfig = WalConfig()
    """How its WAL is shipped."""

    def check(self) -> None:
        """Require what goes together."""
        if self.wal_summaries == "hint" and self.method == "replication":
            raise MistakeError(
                "wal_summaries: hint spares reading files, which method: replication never does",
                hint="leave out one of the two",
            )
