"""What a check found: damages, each with what it hits and what to do next; and what was proven and what was not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.model import ObjectId

FILES_SHOWN = 20


class DamageKind(StrEnum):
    """What is wrong, by what has to be done about it."""

    KEY_SLOT = "key-slot"
    SESSION = "session"
    INDEX = "index"
    SNAPSHOT = "snapshot"
    PACK_ABSENT = "pack-absent"
    PACK_ALTERED = "pack-altered"
    CHUNK_MISSING = "chunk-missing"
    MANIFEST = "manifest"
    WAL_FILE = "wal-file"
    JOURNAL = "journal"


_NEXT = {
    DamageKind.KEY_SLOT: "holdfast key add   (a new slot in its place; this one opens nothing)",
    DamageKind.SESSION: "make sure that no backup is running, then delete {name} from the storage",
    DamageKind.INDEX: (
        "holdfast backup SERVICE   (the next backup rebuilds the index from the packs), "
        "then delete {name} from the storage, then: holdfast check --read-data"
    ),
    DamageKind.SNAPSHOT: (
        "replace {name} from another copy of the repository; without one, move it out of the storage "
        "(it stands in the way of listing the others), then: holdfast backup SERVICE"
    ),
    DamageKind.PACK_ABSENT: (
        "copy {name} back from another copy of the repository; without one: "
        "holdfast backup SERVICE --rehash   (stores again what the service still has)"
    ),
    DamageKind.PACK_ALTERED: (
        "replace {name} from another copy of the repository; without one, move it out of the storage, then: "
        "holdfast backup SERVICE --rehash   (stores again what the service still has)"
    ),
    DamageKind.CHUNK_MISSING: (
        "holdfast backup SERVICE --rehash   (finds packs that no index names, stores again what the service still has)"
    ),
    DamageKind.MANIFEST: "holdfast backup SERVICE --rehash   (a new snapshot does not build on this one)",
    DamageKind.WAL_FILE: (
        "replace {name} from another copy of the repository; without one: "
        "holdfast backup SERVICE   (no recovery gets past this file from an older snapshot)"
    ),
    DamageKind.JOURNAL: (
        "replace {name} from another copy of the repository; without one, delete it, as no backup needs it, then: "
        "holdfast journal   (shows the rest)"
    ),
}


@dataclass(frozen=True)
class Damage:
    """One damaged, missing or foreign object, and what it hits; ``files`` shows FILES_SHOWN of ``file_count``."""

    object_name: str
    kind: DamageKind
    reason: str
    snapshots: tuple[ObjectId, ...] = ()
    files: tuple[bytes, ...] = ()
    file_count: int = 0

    @property
    def next_command(self) -> str:
        """What to do next; only commands that exist."""
        return _NEXT[self.kind].format(name=self.object_name)

    @property
    def is_harmless(self) -> bool:
        """Whether nothing needs it, now or later: an absent pack counts for nothing to readers and writers."""
        return self.kind is DamageKind.PACK_ABSENT and not self.snapshots


@dataclass(frozen=True)
class CheckReport:
    """The result of a check, in lines for people and in values for machines."""

    proven: tuple[str, ...]
    not_proven: tuple[str, ...]
    notices: tuple[str, ...]
    damages: tuple[Damage, ...]

    @property
    def is_clean(self) -> bool:
        """Whether no damage was found in what was looked at."""
        return not self.damages


class Findings:
    """Collects damages while a check runs. A damage is known by its number."""

    def __init__(self) -> None:
        self._found: list[Damage] = []
        self._packs: dict[str, int] = {}
        self._more: dict[int, int] = {}

    def add(self, kind: DamageKind, name: str, reason: str) -> int:
        """Note a damage; return its number."""
        self._found.append(Damage(name, kind, reason))
        return len(self._found) - 1

    def add_to_pack(self, kind: DamageKind, name: str, reason: str) -> int:
        """Note a damage of a pack, which gets one number whatever else is wrong with it."""
        if name in self._packs:
            number = self._packs[name]
            self._more[number] = self._more.get(number, 0) + 1
            return number
        self._packs[name] = self.add(kind, name, reason)
        return self._packs[name]

    def hit(self, number: int, snapshots: tuple[ObjectId, ...], files: tuple[bytes, ...], file_count: int) -> None:
        """Note what a damage hits."""
        self._found[number] = replace(
            self._found[number], snapshots=snapshots, files=files[:FILES_SHOWN], file_count=file_count
        )

    def restate(self, number: int, reason: str) -> None:
        """Say better what is wrong."""
        self._found[number] = replace(self._found[number], reason=reason)

    def __len__(self) -> int:
        return len(self._found)

    def damages(self) -> list[Damage]:
        """Return all damages in the order in which they were found."""
        return [self._with_more(number, damage) for number, damage in enumerate(self._found)]

    def _with_more(self, number: int, damage: Damage) -> Damage:
        more = self._more.get(number)
        return replace(damage, reason=f"{damage.reason} (and {more} more findings in it)") if more else damage
