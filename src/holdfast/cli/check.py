"""``holdfast check``: is everything there, and is it what was stored?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from holdfast.cli import text
from holdfast.cli.deferred import command_class
from holdfast.cli.invocation import Invocation
from holdfast.cli.optional_value import BareOptionsCommand
from holdfast.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.repository.check.report import CheckReport, Damage

_SNAPSHOTS_SHOWN = 10


class CheckCommand(BareOptionsCommand):
    """Bare ``--read-packs`` and ``--read-data`` read everything."""

    bare_values = {"--read-packs": "100", "--read-data": "100"}


@command_class(CheckCommand)
def check(
    ctx: typer.Context,
    read_packs: int = typer.Option(
        0,
        "--read-packs",
        metavar="[=PCT]",
        help="Compare the bytes of packs with what was stored (all, or PCT percent); needs no key to the data.",
    ),
    read_data: int = typer.Option(
        0,
        "--read-data",
        metavar="[=PCT]",
        help="Open packs and prove every chunk in them (all, or PCT percent); needs an owner's key.",
    ),
) -> int:
    """Check that every snapshot's every chunk is there; changes nothing. Damage ends with exit code 14."""
    from holdfast.operations.check import check as operation
    from holdfast.repository.check.options import CheckOptions

    run = Invocation.of(ctx)
    stack = run.stack()
    with run.reporter() as reporter:
        report = operation(stack, run.repository, CheckOptions(read_packs, read_data), reporter)
    run.output.emit("check_report", _message(report), lambda: "\n".join(_lines(report)))
    return ExitCode.DONE if report.is_clean else ExitCode.VERIFICATION_FAILED


def _message(report: CheckReport) -> dict[str, object]:
    damages = [{**asdict(damage), "next_command": damage.next_command} for damage in report.damages]
    return {
        "is_clean": report.is_clean,
        "damages": damages,
        "notices": report.notices,
        "proven": report.proven,
        "not_proven": report.not_proven,
    }


def _lines(report: CheckReport) -> Iterator[str]:
    for damage in report.damages:
        yield from _damage_lines(damage)
    yield from (f"note: {notice}" for notice in report.notices)
    if report.is_clean:
        yield "no damage found"
    else:
        yield f"DAMAGED: {text.count(len(report.damages), 'object')}"
    yield from _listed("proven:", report.proven)
    yield from _listed("not proven:", report.not_proven)


def _damage_lines(damage: Damage) -> Iterator[str]:
    from holdfast.repository.names import shown

    yield f"damage: {damage.object_name}: {damage.reason}"
    if damage.snapshots:
        ids = " ".join(snapshot[:8] for snapshot in damage.snapshots[:_SNAPSHOTS_SHOWN])
        yield f"  hits {text.count(len(damage.snapshots), 'snapshot')}: {ids}"
    if damage.file_count:
        yield f"  hits {text.count(damage.file_count, 'file')}:"
        yield from (f"    {shown(path)}" for path in damage.files)
        if damage.file_count > len(damage.files):
            yield f"    and {damage.file_count - len(damage.files):,} more"
    yield f"  next: {damage.next_command}"


def _listed(title: str, lines: tuple[str, ...]) -> Iterator[str]:
    yield title
    yield from (f"  {line}" for line in lines)
