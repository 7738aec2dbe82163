"""What lies where a cluster is in service: a running one, a stopped one, a damaged one, or nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import HoldfastError, PermissionRefusedError, UsageError, reason_of
from holdfast.postgres.control import read_control_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.postgres.control import ControlFile

_TABLESPACES = "pg_tblspc"
_VERSION_PREFIX = "PG_"


@dataclass(frozen=True)
class LiveCluster:
    """What is in service at ``directory``, which is resolved: no symbolic link is on the way to it.

    ``is_present``: there is something in it. ``control`` is None where the control file cannot be used.
    ``tablespaces`` are the directories that its links lead to, by number.
    """

    directory: Path
    is_present: bool
    control: ControlFile | None = None
    tablespaces: Mapping[int, Path] = field(default_factory=dict)

    @property
    def is_standby(self) -> bool:
        """Whether it follows a primary, or will when it is started."""
        return (self.directory / "standby.signal").exists()

    @property
    def identity(self) -> str:
        """The system identifier and the timeline, as text; empty where they cannot be known."""
        return identity(self.control) if self.control else ""

    @property
    def description(self) -> str:
        """What it is, in words."""
        if not self.is_present:
            return "nothing"
        if self.control is None:
            return "a damaged data directory"
        return describe(self.control)


def look_at(data_directory: Path) -> LiveCluster:
    """Return what is in service in a data directory; UsageError when that is no directory, or may not be seen."""
    directory = Path(os.path.realpath(data_directory))
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return LiveCluster(directory, is_present=False)
    except NotADirectoryError:
        raise UsageError(f"{directory} is not a directory", hint="name the data directory of the service") from None
    except PermissionError as error:
        raise PermissionRefusedError(
            f"no permission to look into {directory}", hint="run as the owner of the data directory or as root"
        ) from error
    if not names:
        return LiveCluster(directory, is_present=False)
    return LiveCluster(directory, is_present=True, control=_control(directory), tablespaces=tablespace_links(directory))


def identity(control: ControlFile) -> str:
    """Return the system identifier and the timeline of a cluster, as text to compare."""
    return f"{control.system_identifier}/{control.timeline}"


def describe(control: ControlFile) -> str:
    """Return what a control file says of its cluster, in words."""
    return (
        f"system identifier {control.system_identifier}, timeline {control.timeline}, "
        f"checkpoint {control.checkpoint} of {clock.in_utc(control.checkpoint_at)}"
    )


def tablespace_links(data_directory: Path) -> dict[int, Path]:
    """Return where the links of the tablespaces lead to, by number; those in place are directories, and have none."""
    try:
        names = os.listdir(data_directory / _TABLESPACES)
    except OSError:  # a damaged directory may lack it
        return {}
    links = {int(name): data_directory / _TABLESPACES / name for name in names if name.isdecimal()}
    return {oid: Path(os.readlink(link)) for oid, link in sorted(links.items()) if link.is_symlink()}


def tablespace_link(oid: int) -> str:
    """Return the path of a tablespace's link, relative to the data directory."""
    return f"{_TABLESPACES}/{oid}"


def version_directories(tablespace: Path, major: int) -> tuple[str, ...]:
    """Return the names of the directories of one major version in a tablespace's directory.

    They are ``PG_15_202209061`` and the like (``TABLESPACE_VERSION_DIRECTORY`` in ``src/include/common/relpath.h``);
    after an upgrade, the old version's lie beside them.
    """
    try:
        names = os.listdir(tablespace)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise HoldfastError(
            f"cannot look into the tablespace {tablespace}: {reason_of(error)}",
            hint="run as the owner of the data directory or as root",
        ) from error
    return tuple(sorted(name for name in names if name.startswith(f"{_VERSION_PREFIX}{major}_")))


def _control(directory: Path) -> ControlFile | None:
    try:
        return read_control_file(directory)
    except PermissionRefusedError:
        raise
    except HoldfastError:
        return None
