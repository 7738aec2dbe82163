"""What was typed after ``holdfast restore``: which options go together, and which way of restoring they mean."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.cli.invocation import Invocation
    from holdfast.operations.recovery.catch_up import CatchUp
    from holdfast.operations.restore import RestoreRequest


class Way(Enum):
    """The ways of restoring; values say what is done, as messages name it."""

    TO_DIRECTORY = "a restore to a directory (--target)"
    DELTA = "a delta restore (--delta)"
    PARTIAL = "a restore of a part (--database, --table)"
    IN_PLACE = "a restore in place"
    UNDO = "--undo"
    DROP_CHECKPOINT = "--drop-checkpoint"


@dataclass(frozen=True, kw_only=True)
class AskedRestore:
    """All options of ``holdfast restore`` as they were typed, with their defaults where they were not."""

    run: Invocation
    service: str
    target: Path | None = None
    snapshot: str = "latest"
    to: str | None = None
    exclusive: bool = False
    timeline: str | None = None
    action: str | None = None
    tablespace: tuple[str, ...] = ()
    resume: bool = False
    dry_run: bool = False
    delta: bool = False
    undo: bool = False
    drop_checkpoint: bool = False
    checkpoint: str | None = None
    yes: bool = False
    database: str | None = None
    table: tuple[str, ...] = ()
    into: str | None = None
    output: Path | None = None

    @property
    def way(self) -> Way:
        """The way of restoring that the options mean."""
        if self.undo:
            return Way.UNDO
        if self.drop_checkpoint:
            return Way.DROP_CHECKPOINT
        if self.database is not None or self.table:
            return Way.PARTIAL
        if self.delta:
            return Way.DELTA
        return Way.IN_PLACE if self.target is None else Way.TO_DIRECTORY

    def require_sense(self) -> None:
        """Raise UsageError for an option that the way of restoring has no use for, or one that it lacks."""
        for option in fields(self):
            if option.name not in _EVERYWHERE | _TAKEN[self.way] and getattr(self, option.name) != option.default:
                name = option.name.replace("_", "-")
                raise UsageError(
                    f"--{name} does not go with {self.way.value}",
                    hint=_GOES_ON.get((self.way, name), "'holdfast restore --help' tells what each option is for"),
                )
        if self.way is Way.DELTA and self.target is None:
            raise UsageError("--delta needs the directory to bring up to date", hint="add --target DIR")
        if self.to is None and (self.exclusive or self.timeline is not None or self.action is not None):
            raise UsageError(
                "--exclusive, --timeline and --action say how to recover to a target, and none is given",
                hint="add --to TIME, LSN, xid:N, name:X, latest or immediate",
            )

    @property
    def places(self) -> dict[str, Path]:
        """Where tablespaces go, by name, from the options ``NAME=DIR``."""
        return dict(_tablespace(words) for words in self.tablespace)

    @property
    def catch_up(self) -> CatchUp:
        """What is done about WAL that is not archived yet: a dry run leaves it where it is."""
        from holdfast.operations.recovery.catch_up import leave_archive_alone, let_archive_catch_up

        return leave_archive_alone if self.dry_run else let_archive_catch_up

    def request(self) -> RestoreRequest:
        """Return the request for the files of a restore to a directory."""
        from holdfast.operations.restore import RestoreRequest

        assert self.target is not None
        return RestoreRequest(self.service, self.target, self.snapshot, self.run.repository, self.places, self.resume)


def _tablespace(words: str) -> tuple[str, Path]:
    name, equals, place = words.rpartition("=")
    if not equals or not name or not place:
        raise UsageError(f"not a tablespace and its directory: {words!r}", hint="write --tablespace NAME=/absolute/dir")
    return name, Path(place)


_GOES_ON = {
    (Way.DELTA, "resume"): "the same command without --resume goes on: it compares again",
    (Way.IN_PLACE, "resume"): "the same command without --resume goes on with what was staged; --target DIR is missing "
    "if it went to a directory",
    (Way.PARTIAL, "resume"): "nothing is kept of one that was broken off: run it without --resume",
}
_EVERYWHERE = {"run", "service"}
_RECOVERY = {"snapshot", "to", "exclusive", "timeline", "dry_run"}
_TAKEN: dict[Way, set[str]] = {
    Way.TO_DIRECTORY: _RECOVERY | {"target", "action", "tablespace", "resume"},
    Way.DELTA: _RECOVERY | {"target", "action", "tablespace", "delta"},
    Way.PARTIAL: _RECOVERY | {"database", "table", "into", "output"},
    Way.IN_PLACE: _RECOVERY | {"yes", "tablespace"},
    Way.UNDO: {"undo", "checkpoint", "yes", "dry_run"},
    Way.DROP_CHECKPOINT: {"drop_checkpoint", "checkpoint", "yes", "dry_run"},
}
