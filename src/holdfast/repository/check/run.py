"""Examines a repository and says what was proven and what was not. It only ever reads: nothing is deleted or repaired.

Three depths, each including the one before: structure (every snapshot, every list of files, every chunk accounted for,
every pack there with its length), packs (their bytes are those that were stored; no private key needed), data (every
frame opens and is the chunk that its id says).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import DamageError, KeyRefusedError, UsageError
from holdfast.repository.check.chunks import ChunkVerdicts
from holdfast.repository.check.manifests import ManifestWalk, WalkCounts
from holdfast.repository.check.objects import ObjectChecker, SoundObjects
from holdfast.repository.check.packs import PackChecker, PackJob, ReadCounts
from holdfast.repository.check.report import CheckReport, Damage, DamageKind, Findings
from holdfast.repository.check.sample import choose
from holdfast.repository.check.walfiles import WalChecker, WalCounts
from holdfast.repository.reader import ChunkReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.progress import Reporter
    from holdfast.repository.check.options import CheckOptions
    from holdfast.repository.repository import Repository
    from holdfast.repository.snapshot import Snapshot

_NAMES_SHOWN = 5


def check_repository(
    repository: Repository,
    options: CheckOptions,
    reporter: Reporter,
    require_sound: Callable[[Snapshot], object] = lambda _: None,
) -> CheckReport:
    """Check an open repository; damage is in the report, not raised.

    ``require_sound`` raises DamageError for a snapshot whose facts whoever knows its kind of service cannot read.
    Raises DamageError when the config itself is not authentic, StorageError when the storage fails (an error is never
    taken for an absence), KeyRefusedError when data is to be opened and only a writer credential is at hand.
    """
    _require_possible(repository, options)
    storage, keys, findings = repository.storage, repository.keys, Findings()

    reporter.phase("checking the small objects")
    objects = ObjectChecker(storage, keys, findings).check()
    _examine(objects.snapshots, require_sound, findings)
    verdicts = ChunkVerdicts(objects.parts, objects.pack_lengths, findings)

    packs = PackChecker(storage, keys, verdicts, findings, reporter)
    jobs = _plan_reading(verdicts, options)
    if jobs:
        packs.check(jobs)

    wal = WalChecker(storage, keys, findings, reporter)
    wal.check(options.read_packs_percent, options.read_data_percent, clock.now().date())

    walk = ManifestWalk(ChunkReader(storage, keys, verdicts.index), verdicts, findings, reporter)
    walk.walk(objects.snapshots)

    return _report(_Examined(objects, verdicts, walk, packs.counts, wal.counts, options), findings.damages())


def _examine(snapshots: list[Snapshot], require_sound: Callable[[Snapshot], object], findings: Findings) -> None:
    for snapshot in snapshots:
        try:
            require_sound(snapshot)
        except DamageError as error:
            number = findings.add(DamageKind.SNAPSHOT, error.object_name, error.reason)
            findings.hit(number, (snapshot.id,), (), 0)


def _require_possible(repository: Repository, options: CheckOptions) -> None:
    for percent in (options.read_packs_percent, options.read_data_percent):
        if not 0 <= percent <= 100:
            raise UsageError(f"{percent} is not a percentage", hint="give a number from 1 to 100")
    if options.read_data_percent and not repository.keys.can_read_data:
        raise KeyRefusedError(
            "opening data needs an owner's key, and this one only writes",
            hint="use the passphrase or the recovery identity, or check --read-packs, which needs neither",
        )


def _plan_reading(verdicts: ChunkVerdicts, options: CheckOptions) -> list[PackJob]:
    if not (options.read_packs_percent or options.read_data_percent):
        return []
    ids = {pack.ref.id for pack in verdicts.index.packs}
    today = clock.now().date()
    opened = choose(ids, options.read_data_percent, today)
    compared = choose(ids, options.read_packs_percent, today) | opened
    return [
        PackJob(number, pack, rows, pack.ref.id in opened)
        for number, rows in verdicts.rows_by_pack()
        if (pack := verdicts.index.packs[number]).ref.id in compared
    ]


@dataclass(frozen=True)
class _Examined:
    objects: SoundObjects
    verdicts: ChunkVerdicts
    walk: ManifestWalk
    read: ReadCounts
    wal: WalCounts
    options: CheckOptions

    @property
    def walked(self) -> WalkCounts:
        return self.walk.counts


def _report(examined: _Examined, damages: list[Damage]) -> CheckReport:
    harmless = [damage for damage in damages if damage.is_harmless]
    harmful = tuple(damage for damage in damages if not damage.is_harmless)
    notices = [f"{damage.object_name}: {damage.reason}; nothing needs it" for damage in harmless]
    return CheckReport(
        tuple(_proven(examined, harmful)),
        tuple(_not_proven(examined)),
        (*notices, *_notices(examined.objects, examined.verdicts)),
        harmful,
    )


def _proven(examined: _Examined, damages: tuple[Damage, ...]) -> list[str]:
    objects, verdicts, walked, read = examined.objects, examined.verdicts, examined.walked, examined.read
    besides = " besides the damage named" if damages else ""
    lines = [
        f"authentic{besides}: config, key slots ({len(objects.slots)}), index objects ({len(objects.parts)})",
        f"authentic{besides}: snapshots ({len(objects.snapshots):,})",
        f"found{besides}: every chunk of the entries ({walked.entries:,}, in {examined.walk.extent_count:,} runs)",
        f"there with their length: packs ({len(verdicts.present_packs):,}), with chunks ({len(verdicts.index):,})",
    ]
    if read.packs:
        lines.append(
            f"read{besides}: packs ({read.packs:,}, {read.size_bytes:,} bytes), whose bytes are those that were stored"
        )
    if read.opened_packs:
        lines.append(
            f"opened{besides}: packs ({read.opened_packs:,}), whose chunks ({read.chunks:,}) are what their ids say"
        )
    if examined.wal.read:
        opened = f", opened: {examined.wal.opened:,}" if examined.wal.opened else ""
        lines.append(f"read{besides}: files of the WAL archive ({examined.wal.read:,}{opened})")
    return lines


def _not_proven(examined: _Examined) -> list[str]:
    read, options, total = examined.read, examined.options, len(examined.verdicts.present_packs)
    lines = []
    today = f"{clock.now():%Y-%m-%d}"
    if read.packs < total:
        chosen = f"; the sample is that of {today}" if read.packs else ""
        lines.append(f"the bytes of {total - read.packs} of {total} packs were not read{chosen} (--read-packs)")
    if read.opened_packs < total:
        chosen = f"; the sample is that of {today}" if options.read_data_percent else ""
        lines.append(
            f"the content of {total - read.opened_packs} of {total} packs was not opened{chosen} (--read-data)"
        )
    if examined.wal.read < examined.wal.files:
        unread = examined.wal.files - examined.wal.read
        lines.append(f"the bytes of {unread} of {examined.wal.files} WAL files were not read")
    lines.append("that no snapshot was removed: a check knows only those that are there")
    if examined.wal.files:
        lines.append("that no WAL is missing: 'holdfast wal status' shows the windows and the gaps")
    lines.append("that a service starts from a snapshot: only a restore shows that")
    return lines


def _notices(objects: SoundObjects, verdicts: ChunkVerdicts) -> list[str]:
    lines = []
    unindexed = sorted(objects.pack_lengths.keys() - verdicts.indexed_names)
    if unindexed:
        lines.append(
            f"packs in no index (an interrupted run's, kept for the next): {len(unindexed)}: {_some(unindexed)}"
        )
    if objects.foreign:
        lines.append(
            f"objects below packs/ that are no packs of ours: {len(objects.foreign)}: {_some(objects.foreign)}"
        )
    incomplete = [snapshot.short_id for snapshot in objects.snapshots if not snapshot.is_complete]
    if incomplete:
        lines.append(f"incomplete snapshots, as their backups said: {len(incomplete)}: {_some(incomplete)}")
    return lines


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    return f"{shown}, …" if len(names) > _NAMES_SHOWN else shown
