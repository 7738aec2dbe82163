"""The process that stays behind a ``restore_command``: it holds the keys in memory and fetches ahead.

It detaches from the server that started it, and ends by itself: when nobody asked for a while, when recovery is over,
when the data directory is gone. It ends with 0 whatever happens: in a container PostgreSQL itself may be process 1,
inherits it, and would take any other end for that of one of its own (``CleanupBackend`` in ``postmaster.c``).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

import msgspec

from holdfast import clock
from holdfast.errors import BusyError, HoldfastError
from holdfast.operations.wal.fetch import open_readable
from holdfast.postgres.account import Account
from holdfast.wal.archive import WalArchive
from holdfast.wal.restore_command import SPOOL_NAME
from holdfast.wal.supply import SupplyOptions, WalSupply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from holdfast.config.models import Stack
    from holdfast.operations.wal.fetch import Cluster, FetchRequest

_SIGNALS = ("recovery.signal", "standby.signal")
_POLL_S = 0.2
_AFTER_RECOVERY_S = 3.0


class _Report(msgspec.Struct):
    """What a new supplier tells the process that started it: that it answers, or (with a message) why it cannot."""

    message: str = ""
    hint: str | None = None
    details: tuple[str, ...] = ()


def spool_beside(path: Path) -> Path:
    """Return where WAL is handed over for files that are wanted at ``path``: on the same file system."""
    return path.parent.absolute() / SPOOL_NAME


def start_supplier(request: FetchRequest, cluster: Cluster, load: Callable[[], Stack]) -> None:
    """Start a supplier beside ``request.path``, unless there is one; returns when it answers. Raises why it cannot.

    It is a fork, so this process must have one thread only; ``load`` is called in the fork.
    """
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        _be_supplier(request, cluster, load, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as reports:
        told = reports.read()
    if not told:
        raise HoldfastError(
            "the process that fetches WAL ended before it answered", hint="run the same command by hand"
        )
    report = msgspec.json.decode(told, type=_Report)
    if report.message:
        raise HoldfastError(report.message, hint=report.hint, details=report.details)


def _be_supplier(request: FetchRequest, cluster: Cluster, load: Callable[[], Stack], writer: int) -> NoReturn:
    """Be the supplier until it is no longer needed; never return into the code of the process that was forked."""
    try:
        _detach(writer)
        _supply(request, cluster, load(), writer)
    except BusyError:  # another one was faster: it answers as well
        _tell(writer, _Report())
    except HoldfastError as error:
        _tell(writer, _Report(error.message, error.hint, error.details))
    except Exception as error:  # noqa: BLE001 - there is nobody above to understand it
        _tell(
            writer, _Report(f"internal error: {type(error).__name__}", "this is a fault in holdfast: please report it")
        )
    finally:
        os._exit(0)


def _supply(request: FetchRequest, cluster: Cluster, stack: Stack, writer: int) -> None:
    spool, data_directory = spool_beside(request.path), request.path.parent.parent.absolute()
    repository = open_readable(stack, request)
    archive = WalArchive(repository.storage, repository.keys, cluster.system_identifier)
    options = SupplyOptions(Account(os.geteuid(), os.getegid()), own=cluster.timeline)
    with WalSupply(archive, None, spool, cluster.segment_size, options) as supply:
        os.chdir("/")
        _tell(writer, _Report())
        _fall_silent()
        while supply.is_alive and supply.idle_s < _patience_s(request, data_directory):
            clock.sleep(_POLL_S)


def _patience_s(request: FetchRequest, data_directory: Path) -> float:
    """Return how long to stay unasked: only a moment when recovery is over (it still asks for a history then)."""
    return request.idle_s if _is_recovering(data_directory) else min(request.idle_s, _AFTER_RECOVERY_S)


def _is_recovering(data_directory: Path) -> bool:
    return any((data_directory / name).exists() for name in _SIGNALS)


def _detach(writer: int) -> None:
    """Leave the server's session, and close what it left open, but for standard error: that goes to its log."""
    os.setsid()
    os.closerange(3, writer)
    os.closerange(writer + 1, os.sysconf("SC_OPEN_MAX"))


def _fall_silent() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def _tell(writer: int, report: _Report) -> None:
    os.write(writer, msgspec.json.encode(report))
    os.close(writer)
