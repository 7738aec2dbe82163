"""Turns what the operating system says into the tree of errors: the edge of the files driver."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from holdfast.errors import (
    AlreadyExistsError,
    NoSpaceError,
    NotFoundError,
    PermissionRefusedError,
    StorageError,
    TransientStorageError,
    reason_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# A network file system says these while its server is away or restarts: errno(3), nfs(5) "soft".
_MAY_PASS = (
    errno.EAGAIN,
    errno.EINTR,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ECONNRESET,
)

_KINDS: dict[int, tuple[type[StorageError], str | None]] = {
    errno.ENOENT: (NotFoundError, None),
    errno.EEXIST: (AlreadyExistsError, None),
    errno.EACCES: (PermissionRefusedError, "check the owner and the mode of the directory, and who runs this"),
    errno.EPERM: (PermissionRefusedError, "check the owner and the mode of the directory, and who runs this"),
    errno.EROFS: (PermissionRefusedError, "the file system is mounted read-only: mount it for writing"),
    errno.ENOSPC: (NoSpaceError, "free some space, or choose another location; what was stored stays usable"),
    errno.EDQUOT: (NoSpaceError, "raise the quota of this user, or choose another location"),
    errno.ENOTDIR: (StorageError, "a repository is a directory: the location, or a part of it, is something else"),
    errno.EMFILE: (StorageError, "raise the limit of open files (ulimit -n)"),
    errno.ELOOP: (StorageError, "a repository holds no symbolic links: put the real file or directory there"),
    **dict.fromkeys(_MAY_PASS, (TransientStorageError, None)),
}


def translate(action: str, error: OSError) -> StorageError:
    """Return the error of our tree for an OSError; ``action`` says what was tried ("put config")."""
    kind, hint = _KINDS.get(error.errno or 0, (StorageError, None))
    return kind(f"{action}: {reason_of(error)}", hint=hint)


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Raise what the block raises as OSError as an error of our tree."""
    try:
        yield
    except OSError as error:
        raise translate(action, error) from error
