"""The system account that server programs run as: PostgreSQL refuses to run as root."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from holdfast.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_FALLBACK_NAMES = ("postgres", "nobody")


class ChildIdentity(TypedDict, total=False):
    """The arguments of ``subprocess`` that make a child another account's."""

    user: int
    group: int
    extra_groups: Iterable[int]


@dataclass(frozen=True, slots=True)
class Account:
    """A system account, by its numbers."""

    uid: int
    gid: int

    def child_identity(self) -> ChildIdentity:
        """Return the arguments with which ``subprocess`` starts a child as this account: none, if it is ours."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": ()}

    def take_over(self, path: Path) -> None:
        """Make this account the owner of a file or directory; only root can give something to another account."""
        if self.uid != os.geteuid():
            os.chown(path, self.uid, self.gid)


def named_account(name: str) -> Account:
    """Return the account of a name; ServerError when there is none."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise ServerError(f"there is no account {name!r}", hint="name the account that owns the cluster") from None
    return Account(entry.pw_uid, entry.pw_gid)


def server_account(data_directory: Path) -> Account:
    """Return the account for a server's programs: our own; or, when we are root, the owner of the data directory.

    For a directory that is absent or root's own, root falls back on "postgres", then on "nobody".
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    if data_directory.exists() and data_directory.stat().st_uid != 0:
        status = data_directory.stat()
        return Account(status.st_uid, status.st_gid)
    for entry in pwd.getpwall():
        if entry.pw_name == _FALLBACK_NAMES[0]:
            return Account(entry.pw_uid, entry.pw_gid)
    return named_account(_FALLBACK_NAMES[1])
