"""The parts of a cluster that lie outside its data directory, and change hands with it: its tablespaces.

Their content is staged and kept inside their own directories: it is on the right file system there, also where a
tablespace is a mount point, and the links that lead to it need no change in the cluster that is in service.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import HoldfastError, UsageError
from holdfast.postgres.running import servers_using
from holdfast.restore.checkpoint import Checkpoint, checkpoint_name, parked_name
from holdfast.restore.exchange import Outside, Parked
from holdfast.services.postgres.live import tablespace_link, tablespace_links, version_directories

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from holdfast.services.postgres.facts import PostgresFacts
    from holdfast.services.postgres.live import LiveCluster

_ELSEWHERE = "give the tablespace another directory: --tablespace NAME=DIR"


def tablespace_homes(facts: PostgresFacts, wanted: Mapping[str, Path]) -> dict[int, Path]:
    """Return where the tablespaces of a snapshot belong, by number; ``wanted``, by name, overrules where they were."""
    return {
        tablespace.oid: wanted.get(tablespace.name, Path(tablespace.location))
        for tablespace in facts.tablespaces
        if not tablespace.is_in_place
    }


def places_to_fill(staging: Path, homes: Mapping[int, Path], part: str, wal: Sequence[Outside]) -> Parked:
    """Return the directories that a staged restore fills; ``wal`` as in ``outgoing_parts``."""
    outsides = (
        Outside(link=tablespace_link(oid), home=str(home), parked=str(home / part), names=())
        for oid, home in homes.items()
    )
    return Parked(directory=str(staging), outsides=(*outsides, *wal))


def staged_parts(staging: Path, homes: Mapping[int, Path], part: str, major: int) -> Parked:
    """Return a staged cluster, once it is recovered; ``homes`` are where its tablespaces belong, by number.

    HoldfastError when recovery made a tablespace that the snapshot does not have: it was made at its own place, over
    whatever was there, and so the result cannot be trusted.
    """
    made = tablespace_links(staging).keys() - homes.keys()
    if made:
        place = tablespace_links(staging)[min(made)]
        raise HoldfastError(
            f"recovery made a tablespace at {place}, which the snapshot does not have",
            hint="use a later snapshot, which has it; or restore with --target on another machine",
        )
    outsides = (
        Outside(
            link=tablespace_link(oid),
            home=str(home),
            parked=str(home / part),
            names=version_directories(home / part, major),
        )
        for oid, home in homes.items()
    )
    return Parked(directory=str(staging), outsides=tuple(each for each in outsides if each.names))


def outgoing_parts(
    live: LiveCluster, homes: Iterable[Path], checkpoint_id: str, major: int, wal: Sequence[Outside] = ()
) -> Parked | None:
    """Return what is in service, as it will be parked; None when there is nothing, not even what a lost cluster left.

    ``homes`` are where the tablespaces of the incoming cluster belong: what is there must make room. ``wal`` is what
    lies outside of its data directory as well, and goes with it.
    """
    name = parked_name(checkpoint_id)
    outsides = [
        Outside(
            link=tablespace_link(oid),
            home=str(home),
            parked=str(home / name),
            names=version_directories(home, live.control.major if live.control else major),
        )
        for oid, home in live.tablespaces.items()
    ]
    own = {os.path.realpath(home) for home in live.tablespaces.values()}
    for number, home in enumerate(home for home in homes if os.path.realpath(home) not in own):
        names = version_directories(home, major)
        outsides.append(
            Outside(link=f"lost/{number}", home=str(home), parked=str(home / name), names=names, is_linked=False)
        )
    outsides = [outside for outside in outsides if outside.names] + list(wal)
    if not (live.is_present or outsides):
        return None
    return Parked(directory=str(checkpoint_name(live.directory, checkpoint_id)), outsides=tuple(outsides))


def require_own_homes(live: LiveCluster, homes: Mapping[int, Path]) -> None:
    """Raise UsageError for a tablespace whose place cannot be exchanged, or is not this cluster's to use."""
    for home in {*homes.values(), *live.tablespaces.values()}:
        if home.is_relative_to(live.directory) or _real(home).is_relative_to(live.directory):
            raise UsageError(
                f"the tablespace {home} lies inside the data directory, and cannot be exchanged on its own",
                hint="restore to a new directory: --target DIR",
            )
    own = {_real(home) for home in live.tablespaces.values()}
    for home in homes.values():
        others = [root for root in servers_using(home) if _real(root) != live.directory]
        if others:
            raise UsageError(f"{home} is a tablespace of the running server of {others[0]}", hint=_ELSEWHERE)
        is_somebodys = live.control is not None and _real(home) not in own and _has_tablespace(home)
        if is_somebodys:
            raise UsageError(f"{home} holds a tablespace that is not of the cluster in service", hint=_ELSEWHERE)


def require_tablespaces_of(live: LiveCluster, homes: Mapping[int, Path]) -> None:
    """Raise UsageError when the cluster in service has a tablespace that the snapshot lacks.

    Recovery would make it again at its own place: over the files of the running server.
    """
    made = sorted(live.tablespaces.keys() - homes.keys())
    if made:
        raise UsageError(
            f"the tablespace {live.tablespaces[made[0]]} was made after the snapshot; recovery would make it again, "
            "over the one in service",
            hint="back up once more and choose a target after that, or restore with --target on another machine",
        )


def prepare_places(outgoing: Parked | None, live: LiveCluster) -> None:
    """Make the directories that parked tablespaces go to, and the data directory where only tablespaces are left."""
    if outgoing is None:
        return
    if not live.is_present:
        live.directory.mkdir(mode=0o700, exist_ok=True)
    for outside in outgoing.outsides:
        if not outside.names:
            continue
        parked = Path(outside.parked)
        parked.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            owner = Path(outside.home).stat()
            os.chown(parked, owner.st_uid, owner.st_gid)


def is_ours_alone(home: Path, part: str) -> bool:
    """Whether the directory of a tablespace is not there, or may be by our doing: it holds nothing but our part."""
    return not home.exists() or os.listdir(home) == [part]


def give_homes(absent: Iterable[Path], staging: Path) -> None:
    """Give the directories of tablespaces that had to be made the owner and the mode of the data directory."""
    owner = staging.stat()
    for home in absent:
        home.chmod(0o700)
        if os.geteuid() == 0:
            os.chown(home, owner.st_uid, owner.st_gid)


@dataclass(frozen=True)
class Successor:
    """What takes the place of what is in service: ``until`` says it in words, ``id`` is that of the deed.

    ``number`` is that of the checkpoint which it leaves behind.
    """

    stack: str
    service: str
    id: str
    until: str
    number: int


def as_checkpoint(live: LiveCluster, parked: Parked | None, successor: Successor) -> Checkpoint | None:
    """Return the checkpoint that what is in service becomes; None when there is nothing."""
    if parked is None:
        return None
    return Checkpoint(
        id=successor.id,
        number=successor.number,
        stack=successor.stack,
        service=successor.service,
        made=clock.now().isoformat(timespec="milliseconds"),
        until=successor.until,
        home=str(live.directory),
        parked=parked,
        description=live.description,
    )


def _has_tablespace(home: Path) -> bool:
    return home.is_dir() and any(name.startswith("PG_") for name in os.listdir(home))


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
