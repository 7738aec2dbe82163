"""Recognising a data directory, with clear words for everything else that a path may turn out to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import ServerError, reason_of

if TYPE_CHECKING:
    from pathlib import Path

OLDEST_MAJOR = 14
NEWEST_MAJOR = 18

_HINT = "name the data directory of a cluster ('show data_directory' on the server tells it)"


def verify_is_data_directory(path: Path) -> int:
    """Return the major version of the cluster in ``path``; ServerError when it is no data directory.

    The marks are those by which the server knows one (``checkDataDir`` and ``ValidatePgVersion`` in
    ``src/backend/utils/init/miscinit.c``): ``PG_VERSION``, and the control file.
    """
    text = _read_version(path)
    if not text.isdecimal():
        raise ServerError(f"{path}/PG_VERSION does not hold a version: {text[:20]!r}", hint=_HINT)
    major = int(text)
    require_supported(major)
    if not (path / "global" / "pg_control").exists():
        raise ServerError(
            f"{path} has no control file (global/pg_control)",
            hint="it may be a restore that did not finish: run it again with --resume",
        )
    return major


def require_supported(major: int) -> None:
    """Raise ServerError unless the major version is one that Holdfast knows."""
    if not OLDEST_MAJOR <= major <= NEWEST_MAJOR:
        raise ServerError(
            f"PostgreSQL {major} is not supported",
            hint=f"versions {OLDEST_MAJOR} to {NEWEST_MAJOR} are; a newer Holdfast may know more",
        )


def _read_version(path: Path) -> str:
    try:
        return (path / "PG_VERSION").read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        what = "is not a data directory: it has no PG_VERSION" if path.is_dir() else "does not exist"
        raise ServerError(f"{path} {what}", hint=_HINT) from None
    except NotADirectoryError:
        raise ServerError(f"{path} is not a directory", hint=_HINT) from None
    except PermissionError:
        raise ServerError(f"no permission to read {path}", hint="run as the owner of the cluster or as root") from None
    except OSError as error:
        raise ServerError(f"cannot read {path}: {reason_of(error)}", hint=_HINT) from error
