"""A local copy of immutable sealed objects (index, snapshots), so that they are fetched once.

The cache may be deleted at any time. It holds the objects as the repository does, sealed: it discloses nothing, and a
torn or foreign file is found by opening it, dropped, and fetched again. Hashes of pages (``page_cache.py``) lie beside
them, and are not sealed.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SYSTEM_CACHE = Path("/var/cache/holdfast")


def default_cache_root() -> Path:
    """Return $XDG_CACHE_HOME/holdfast, for root /var/cache/holdfast, else ~/.cache/holdfast."""
    configured = os.environ.get("XDG_CACHE_HOME")
    if configured:
        return Path(configured) / "holdfast"
    return _SYSTEM_CACHE if os.geteuid() == 0 else Path.home() / ".cache" / "holdfast"


class ObjectCache:
    """Copies of one repository's objects below ``root``; a directory that cannot be written is no error."""

    def __init__(self, root: Path, repository_id: str) -> None:
        self._root = root / repository_id

    def get(self, name: str) -> bytes | None:
        """Return the copy of an object, or None."""
        try:
            return (self._root / name).read_bytes()
        except OSError:
            return None

    def path(self, name: str) -> Path:
        """Return where a file lies, or might: some are too large to be handed around as bytes."""
        return self._root / name

    def put(self, name: str, stored: bytes) -> None:
        """Keep a copy, whole or not at all."""
        path = self._root / name
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            with os.fdopen(descriptor, "wb") as file:
                file.write(stored)
            Path(temporary).replace(path)

    def drop(self, name: str) -> None:
        """Forget one copy."""
        with contextlib.suppress(OSError):
            (self._root / name).unlink()

    def keep_only(self, prefix: str, names: Iterable[str]) -> None:
        """Forget the copies below a prefix that the repository no longer has."""
        wanted = {Path(name).name for name in names}
        with contextlib.suppress(OSError):
            for path in (self._root / prefix).iterdir():
                if path.name not in wanted and not path.name.startswith("."):
                    path.unlink(missing_ok=True)
