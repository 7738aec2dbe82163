"""Whose WAL this is: a copy of a cluster must not write into the archive of its origin.

A copy has the same system identifier, so nothing in the WAL tells the two apart. Two things do: where it lies (a
service's settings are for one data directory), and the mark that a restore by Holdfast leaves in what it restored.
"""

from __future__ import annotations

import os

import msgspec

from holdfast.errors import HoldfastError, ServerError, reason_of

MARKER_NAME = "holdfast-restore.json"
"""What a restore leaves in the directory that it restored; ``restore.marker`` writes it."""
_ADOPTED = "adopted"


class NotAdoptedError(HoldfastError):
    """The cluster was restored by Holdfast, and nobody said that it takes over the archive."""


def data_directory_of(path: str) -> str:
    """Return the data directory that a file of ``pg_wal`` belongs to, also where ``pg_wal`` is a link elsewhere."""
    return os.path.dirname(os.path.dirname(os.path.abspath(path)))


def require_own(path: str, data_directory: str) -> None:
    """Raise unless a file to push is of the cluster in ``data_directory``, and that cluster may be archived.

    A file that lies in no data directory (salvaged from somewhere) is let through: its content is judged.
    """
    place = data_directory_of(path)
    if os.path.exists(os.path.join(place, "PG_VERSION")) and not _is_same(place, data_directory):
        raise ServerError(
            f"{path} is of the cluster in {place}, and this service is the one in {data_directory}",
            hint="give the copy a service of its own; if the cluster was moved, run 'holdfast wal setup' again",
        )
    require_adopted(place)


def require_adopted(data_directory: str) -> None:
    """Raise NotAdoptedError when a cluster was restored, and nobody said that it takes over the archive."""
    path = os.path.join(data_directory, MARKER_NAME)
    try:
        with open(path, "rb") as file:
            marker = msgspec.json.decode(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise ServerError(
            f"cannot read {path}: {reason_of(error)}",
            hint="run this as the account of the server, which owns the file",
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        marker = None
    if not isinstance(marker, dict) or not marker.get(_ADOPTED):
        raise NotAdoptedError(
            f"the cluster in {data_directory} was restored from a backup, and does not write into the archive",
            hint="if it takes the place of its origin, promote it and run 'holdfast wal adopt' for its service",
        )


def require_adopted_if_visible(data_directory: str) -> None:
    """As ``require_adopted``, of a cluster that may lie on another machine or be closed to this account."""
    if os.access(os.path.join(data_directory, MARKER_NAME), os.R_OK):
        require_adopted(data_directory)


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
