"""A service where it runs: its data directory, its server's switch, and the state that Holdfast keeps of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.config.choose import choose_service
from holdfast.errors import HoldfastError, ServerError, UsageError
from holdfast.operations.wiring import connection_string
from holdfast.restore.checkpoint import read_checkpoints
from holdfast.restore.state import StateDirectory
from holdfast.restore.swap import unfinished_swap

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.config.models import ServiceConfig, Stack
    from holdfast.config.postgres import RestoreConfig, ServerConfig
    from holdfast.postgres.binaries import Binaries
    from holdfast.services.postgres.activation import PostgresSwitch
    from holdfast.services.postgres.health import Checks
    from holdfast.services.postgres.live import LiveCluster
    from holdfast.services.postgres.server_commands import ServerCommands

_DEFAULT_STATE = Path("/var/lib/holdfast")


def service_state(stack: Stack, service: str) -> StateDirectory:
    """Return the state of a service; UsageError when there is no such service."""
    config = choose_service(stack, service)
    return StateDirectory(config.restore.state or _DEFAULT_STATE / stack.stack / service)


def known_directory(stack: Stack, service: str) -> Path | None:
    """Return the data directory: as configured, as the running server says, or as earlier restores knew it."""
    config = choose_service(stack, service)
    return config.data_directory or _said_by_server(connection_string(config)) or _remembered(stack, service)


def make_switch(stack: Stack, service: str, data_directory: Path, major: int) -> PostgresSwitch:
    """Return what stops and starts the service's server; UsageError when the stack file does not say how."""
    from holdfast.services.postgres.activation import ActivationOptions, PostgresSwitch

    config = choose_service(stack, service)
    server = config.restore.server
    if server is None:
        raise UsageError(
            f"the stack file does not say how the server of {service} is stopped and started",
            hint=f"add to services.{service}: restore: {{server: {{systemd: UNIT}}}}, "
            "or restore to a directory: --target DIR",
        )
    options = ActivationOptions(
        data_directory=data_directory,
        conninfo=connection_string(config),
        commands=_commands(config, server, data_directory, major),
        checks=checks_of(config.restore),
        stop_timeout_s=config.restore.stop_timeout.total_seconds(),
        start_timeout_s=config.restore.start_timeout.total_seconds(),
    )
    return PostgresSwitch(options)


def checks_of(config: RestoreConfig) -> Checks:
    """Return what is asked of a cluster before it counts as well."""
    from holdfast.services.postgres.health import Checks

    return Checks(config.checks, config.check_timeout.total_seconds())


def require_finished(state: StateDirectory) -> None:
    """Raise HoldfastError while an earlier swap of the service is unfinished."""
    if unfinished_swap(state) is not None:
        raise HoldfastError(
            "an earlier swap of this service was cut off",
            hint="'holdfast restore SERVICE' finishes it, 'holdfast restore SERVICE --undo' turns it back",
        )


def require_primary(live: LiveCluster) -> None:
    """Raise UsageError when a standby is in service: it follows its primary, and is not restored but made anew."""
    if live.is_standby:
        raise UsageError(
            f"{live.directory} is a standby",
            hint="restore its primary in place, then make the standby anew; or restore to a directory: --target DIR",
        )


def require_startable(stack: Stack, service: str, live: LiveCluster) -> None:
    """Raise UsageError when ``pg_ctl`` would find no configuration, as on Debian: it could stop the server only."""
    server = choose_service(stack, service).restore.server
    if server is None or server.pg_ctl is None or "config_file" in (server.pg_ctl.options or ""):
        return
    if live.control is not None and not (live.directory / "postgresql.conf").exists():
        raise UsageError(
            f"pg_ctl can stop the server in {live.directory}, and not start it: its postgresql.conf lies elsewhere",
            hint="say so in the stack file: pg_ctl: {log: …, options: -c config_file=…}; "
            "or, on Debian, server: {systemd: postgresql@VERSION-NAME}",
        )


def require_local(stack: Stack, service: str, live: LiveCluster) -> None:
    """Raise ServerError when a server answers whose data directory this is not: it runs elsewhere."""
    from holdfast.postgres.belonging import is_data_directory_of, other_directory
    from holdfast.postgres.ping import is_taking_connections
    from holdfast.postgres.server import Server

    conninfo = connection_string(choose_service(stack, service))
    if live.control is None or not is_taking_connections(conninfo):
        return
    try:
        with Server.connect(conninfo) as server:
            is_local = is_data_directory_of(server, live.directory)
    except ServerError:  # perhaps a role was lost, and this is why it is restored
        return
    if not is_local:
        raise other_directory(live.directory)


def forget_acknowledgements(stack: Stack, service: str) -> None:
    """Forget which WAL was acknowledged: another history begins. What is asked for again is compared anew."""
    from holdfast.operations.wal.compilation import spool_directory
    from holdfast.wal.spool import clear_acknowledgements

    clear_acknowledgements(str(spool_directory(stack, service)))


def major_of(directories: Iterable[Path]) -> int:
    """Return the major version of the first of these directories that is a data directory."""
    from holdfast.postgres.location import verify_is_data_directory

    there = [directory for directory in directories if (directory / "PG_VERSION").exists()]
    if not there:
        raise UsageError("no data directory is left that tells its PostgreSQL version", hint="start the server by hand")
    return verify_is_data_directory(there[0])


def _commands(config: ServiceConfig, server: ServerConfig, data_directory: Path, major: int) -> ServerCommands:
    from holdfast.services.postgres.server_commands import ServerCommands, pg_ctl_commands, systemd_commands

    if server.systemd is not None:
        return systemd_commands(server.systemd)
    if server.pg_ctl is None:
        return ServerCommands(tuple(server.stop or ()), tuple(server.start or ()))
    timeouts_s = config.restore.stop_timeout.total_seconds(), config.restore.start_timeout.total_seconds()
    binaries = _binaries(config, major)
    return pg_ctl_commands(binaries, data_directory, server.pg_ctl.log, server.pg_ctl.options, timeouts_s)


def _binaries(config: ServiceConfig, major: int) -> Binaries:
    from holdfast.postgres.binaries import find_binaries

    found = find_binaries(major, config.binaries)
    if found is None:
        raise UsageError(
            f"PostgreSQL {major} was not found on this machine",
            hint="install it, or say where it is: binaries: DIR of this service",
        )
    return found


def _said_by_server(conninfo: str) -> Path | None:
    from holdfast.postgres.ping import is_taking_connections
    from holdfast.postgres.server import Server

    if not is_taking_connections(conninfo):
        return None
    try:
        with Server.connect(conninfo) as server:
            return Path(server.probe().data_directory)
    except ServerError:
        return None


def _remembered(stack: Stack, service: str) -> Path | None:
    state = service_state(stack, service)
    intent = unfinished_swap(state)
    if intent is not None:
        return Path(intent.home)
    checkpoints = read_checkpoints(state)
    return Path(checkpoints[-1].home) if checkpoints else None
