"""Directories that change hands by rename, in steps that can be done, undone and found out about after any crash.

Which steps are done is read from the disk and not from a counter: a step leaves a state that no earlier moment has, so
the last one whose state is there says how far an exchange came. Each rename is durable before the next one.

The main directory leaves its name first and gets it back last. Between these two there is no directory under the
service's name, so a server that something starts at the wrong moment finds nothing, and never the data of one cluster
with the tablespaces of another.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from holdfast import crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.errors import HoldfastError, UsageError
from holdfast.restore.durable import sync_directory

if TYPE_CHECKING:
    from collections.abc import Sequence

_LINK_SUFFIX = ".holdfast-new"


class Rename(msgspec.Struct, frozen=True, tag="rename"):
    """A directory gets another name on its file system; ``source`` and ``destination`` are absolute."""

    source: str
    destination: str

    def __str__(self) -> str:
        """Return what it did, for people who may have to undo it by hand."""
        return f"{self.source} is now {self.destination}"

    def is_done(self) -> bool:
        """Whether the directory has its new name."""
        return os.path.isdir(self.destination) and not os.path.lexists(self.source)

    def do(self) -> None:
        """Rename, durably."""
        _rename(Path(self.source), Path(self.destination))

    def undo(self) -> None:
        """Rename back, durably."""
        _rename(Path(self.destination), Path(self.source))


class Relink(msgspec.Struct, frozen=True, tag="relink"):
    """A symbolic link at ``path`` leads to ``after`` instead of ``before``."""

    path: str
    before: str
    after: str

    def __str__(self) -> str:
        """Return what it did, for people who may have to undo it by hand."""
        return f"the link {self.path} leads to {self.after} instead of {self.before}"

    def is_done(self) -> bool:
        """Whether it leads to the new place."""
        return os.path.islink(self.path) and os.readlink(self.path) == self.after

    def do(self) -> None:
        """Let the link lead to its new place, durably."""
        _relink(Path(self.path), self.after)

    def undo(self) -> None:
        """Let the link lead to its old place, durably."""
        _relink(Path(self.path), self.before)


Step = Rename | Relink


class Outside(msgspec.Struct, frozen=True, kw_only=True):
    """What a main directory keeps elsewhere (a tablespace), reached by the symbolic link ``link`` inside it.

    In service the link leads to ``home``, else to ``parked``. ``names`` are the directories in it that change places;
    none: it is itself renamed. ``is_linked``: the link is there (a damaged directory may have lost it).
    """

    link: str
    home: str
    parked: str
    names: tuple[str, ...]
    is_linked: bool = True

    @property
    def moves(self) -> tuple[tuple[str, str], ...]:
        """What has which path in service, and which when it is parked."""
        if not self.names:
            return ((self.home, self.parked),)
        return tuple((os.path.join(self.home, name), os.path.join(self.parked, name)) for name in self.names)


class Parked(msgspec.Struct, frozen=True, kw_only=True):
    """A main directory that is not in service: where it is then, and what of it lies elsewhere."""

    directory: str
    outsides: tuple[Outside, ...] = ()

    @property
    def places(self) -> tuple[Path, ...]:
        """Every directory that holds a part of it while it is parked."""
        return (Path(self.directory), *(Path(outside.parked) for outside in self.outsides))


def require_same_file_systems(parked: Parked, live: Path) -> None:
    """Raise UsageError when a part that is parked could not become what it was at ``live`` and its places by rename."""
    for home, source in ((str(live), parked.directory), *(move for each in parked.outsides for move in each.moves)):
        parent = Path(home).parent
        if os.path.isdir(source) and parent.is_dir() and os.stat(source).st_dev != parent.stat().st_dev:
            raise UsageError(
                f"{source} is on another file system than {parent}, and cannot be renamed to there",
                hint="one of them was moved to another disk: move them to one, or exchange them by hand",
            )


def plan_exchange(live: Path, outgoing: Parked | None, incoming: Parked) -> tuple[Step, ...]:
    """Return the steps after which ``incoming`` is in service at ``live``, and what was there is parked.

    ``outgoing`` says where what is there will be; None when there is nothing.
    """
    steps: list[Step] = []
    if outgoing is not None:
        steps.append(Rename(str(live), outgoing.directory))
        for outside in outgoing.outsides:
            steps += [Rename(at_home, parked) for at_home, parked in outside.moves]
            if outside.is_linked:
                steps.append(Relink(os.path.join(outgoing.directory, outside.link), outside.home, outside.parked))
    for outside in incoming.outsides:
        steps += [Rename(parked, at_home) for at_home, parked in outside.moves]
        if outside.is_linked:
            steps.append(Relink(os.path.join(incoming.directory, outside.link), outside.parked, outside.home))
    return (*steps, Rename(incoming.directory, str(live)))


def count_done(steps: Sequence[Step]) -> int:
    """Return how many steps are done: all up to the last whose state is on disk."""
    return next((number + 1 for number in reversed(range(len(steps))) if steps[number].is_done()), 0)


def stranger(steps: Sequence[Step]) -> Rename | None:
    """Return the next step where what it is to make is there already, though it is not done; None as it should be.

    Something else has made a directory in the middle of an exchange: perhaps the one that should have made room, and
    then the disk does not tell any more how far the exchange came.
    """
    done = count_done(steps)
    step = steps[done] if done < len(steps) else None
    return step if isinstance(step, Rename) and not _is_vacant(Path(step.destination)) else None


def exchange(steps: Sequence[Step]) -> None:
    """Do what is not done yet, in order."""
    for step in steps[count_done(steps) :]:
        step.do()
        crashpoint.reach(CrashPoint.SWAP_STEP_DONE)


def exchange_back(steps: Sequence[Step]) -> None:
    """Undo what is done, last step first."""
    for step in reversed(steps[: count_done(steps)]):
        step.undo()
        crashpoint.reach(CrashPoint.SWAP_STEP_UNDONE)


def _rename(source: Path, destination: Path) -> None:
    """Rename a directory; a destination that is there and not empty is never replaced (rename(2), ENOTEMPTY)."""
    if not _is_vacant(destination):
        raise HoldfastError(
            f"{source} cannot become {destination}: there is something already",
            hint=f"look at what is in {destination}, move it away, and run the same command again",
        )
    source.rename(destination)
    sync_directory(destination.parent)
    if source.parent != destination.parent:
        sync_directory(source.parent)


def _is_vacant(path: Path) -> bool:
    """Whether nothing is there, or an empty directory."""
    return not os.path.lexists(path) or (path.is_dir() and not any(path.iterdir()))


def _relink(path: Path, leads_to: str) -> None:
    """Replace a symbolic link in one step; the new one belongs to whom the old one did."""
    owner = path.lstat()
    new = path.with_name(path.name + _LINK_SUFFIX)
    new.unlink(missing_ok=True)
    new.symlink_to(leads_to)
    if os.geteuid() == 0:
        os.chown(new, owner.st_uid, owner.st_gid, follow_symlinks=False)
    new.replace(path)
    sync_directory(path.parent)
