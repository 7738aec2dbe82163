"""Set up the shipping of one service's WAL: ask the server, compile the settings, make the spool, say what to set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.config.choose import choose_service
from holdfast.operations.wal.compilation import ClusterFacts, compile_settings, install, spool_directory
from holdfast.operations.wiring import connection_string
from holdfast.postgres.account import server_account
from holdfast.postgres.belonging import require_data_directory_of
from holdfast.postgres.initdb import quoted_setting
from holdfast.postgres.server import Server
from holdfast.wal.archive_command import command_line
from holdfast.wal.restore_command import NOT_THERE_EXIT, SPOOL_NAME, shared_command
from holdfast.wal.spool import clear_acknowledgements

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from holdfast.config.models import Stack

_RUN_BY_THE_SERVER = (
    "cryptography.hazmat.backends.openssl.backend",
    "holdfast.operations.wal.cold_push",
    "holdfast.operations.wal.push",
    "holdfast.operations.wal.serve",
)


@dataclass(frozen=True, slots=True)
class ArchivingSetup:
    """What was set up. ``settings`` are the lines for postgresql.conf, by name, as values (not yet quoted)."""

    service: str
    spool: str
    system_identifier: str
    data_directory: str
    account: int
    settings: dict[str, str]
    needs_restart: bool

    def lines(self) -> list[str]:
        """Return the settings as postgresql.conf takes them."""
        return setting_lines(self.settings)


def set_up(stack_file: Path, stack: Stack, service: str) -> ArchivingSetup:
    """Set archiving up, or again after a change; what the old settings acknowledged is asked of the repository anew.

    The server's own configuration is not touched. Raises ServerError, ConfigError, StorageError, KeyRefusedError.
    """
    config = choose_service(stack, service)
    with Server.connect(connection_string(config)) as server:
        facts = server.probe()
        data_directory = config.data_directory or Path(facts.data_directory)
        require_data_directory_of(server, facts, data_directory)
    cluster = ClusterFacts(str(facts.system_identifier), facts.wal_segment_size, str(data_directory))
    settings = compile_settings(stack_file, stack, service, cluster)
    account = server_account(data_directory)
    clear_acknowledgements(settings.spool)
    install(settings, (account.uid, account.gid))
    keep_bytecode()
    return ArchivingSetup(
        service=service,
        spool=settings.spool,
        system_identifier=settings.system_identifier,
        data_directory=settings.data_directory,
        account=account.uid,
        settings=archiving_settings(stack, service, settings.program),
        needs_restart=facts.archive_mode == "off",
    )


def keep_bytecode() -> None:
    """Import what ``wal push`` and ``wal serve`` do, so that Python keeps it compiled where it can.

    The server's account seldom may write where Holdfast is installed, and not every installer compiles: then each push
    would compile half of Holdfast.
    """
    from importlib import import_module

    for name in _RUN_BY_THE_SERVER:
        import_module(name)


def archiving_settings(stack: Stack, service: str, program: Sequence[str]) -> dict[str, str]:
    """Return what postgresql.conf must say so that this service's WAL is archived, and found again by a recovery."""
    fetch = [*program, "wal", "fetch", service, "--not-there-exit", str(NOT_THERE_EXIT)]
    return {
        **push_settings(stack, service),
        "restore_command": shared_command(Path("pg_wal") / SPOOL_NAME, fetch),
    }


def push_settings(stack: Stack, service: str) -> dict[str, str]:
    """Return what of that is for archiving: it is known before anything is set up."""
    return {"archive_mode": "on", "archive_command": command_line(str(spool_directory(stack, service)))}


def setting_lines(settings: Mapping[str, str]) -> list[str]:
    """Return settings as postgresql.conf takes them."""
    return [f"{name} = {quoted_setting(value)}" for name, value in settings.items()]
