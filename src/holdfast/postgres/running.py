"""Whether a server runs on a data directory, asked of the operating system alone: the directory may be damaged.

The server's own lock is ``postmaster.pid`` (``CreateLockFile`` in ``src/backend/utils/init/miscinit.c``). Its first
line is the server's process; its seventh names the shared memory, to which orphans stay attached when that process
was killed (``PGSharedMemoryIsInUse`` in ``src/backend/port/sysv_shmem.c``).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import process
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK_FILE = "postmaster.pid"
_MEMORY_LINE = 6
_PID = re.compile("[0-9]{1,9}")
_SHARED_MEMORY = Path("/proc/sysvipc/shm")
_SERVER = "postgres"


def require_stopped(data_directory: Path) -> None:
    """Raise UsageError when a server runs on the data directory, or may: its lock names a process that is there."""
    lines = _lock_lines(data_directory)
    pid = lines[0].strip().lstrip("-") if lines else ""
    if _PID.fullmatch(pid) and _is_alive(int(pid)):
        raise UsageError(
            f"{data_directory} is in use by a running server (process {pid})",
            hint=f"stop it first; if process {pid} is no PostgreSQL, remove {LOCK_FILE}",
        )
    if len(lines) > _MEMORY_LINE and _is_attached(lines[_MEMORY_LINE].split()):
        raise UsageError(
            f"{data_directory} is in use: processes of a killed server are still attached to its shared memory",
            hint="end the processes of that server first (ps -C postgres)",
        )


def servers_using(directory: Path) -> list[Path]:
    """Return the data directories of running servers that use ``directory``, as far as we may see.

    It is their data directory, one of their tablespaces, or has their WAL.
    """
    wanted = os.path.realpath(directory)
    return [root for root in _running_data_directories() if wanted in _directories_of(root)]


def _lock_lines(data_directory: Path) -> list[str]:
    try:
        return (data_directory / LOCK_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not process.is_zombie(pid)


def _is_attached(key_and_id: list[str]) -> bool:
    """Whether any process is attached to the shared memory that the lock names (columns shmid and nattch, proc(5))."""
    if not _SHARED_MEMORY.exists() or len(key_and_id) != len(("key", "id")):
        return False
    rows = (line.split() for line in _SHARED_MEMORY.read_text().splitlines()[1:])
    return any([row[0], row[1]] == key_and_id and row[6] != "0" for row in rows)


def _running_data_directories() -> Iterator[Path]:
    """Yield the data directories of servers: each process of theirs has it as its working directory."""
    seen: set[str] = set()
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdecimal() and (place / "comm").read_text().strip() == _SERVER:
                seen.add(os.readlink(place / "cwd"))
        except OSError:  # it has ended, or is not ours to look at
            continue
    return (Path(each) for each in sorted(seen))


def _directories_of(data_directory: Path) -> set[str]:
    own = {os.path.realpath(data_directory), os.path.realpath(data_directory / "pg_wal")}
    try:
        return own | {os.path.realpath(path) for path in (data_directory / "pg_tblspc").iterdir()}
    except OSError:
        return own
