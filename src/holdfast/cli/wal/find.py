"""``holdfast wal find``: when was it still good? Commits, aborts and restore points, from the WAL itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from holdfast.cli.completion import service_names
from holdfast.cli.invocation import Invocation
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.cli.wal.questions import Show
    from holdfast.operations.wal.find import Question


def find(
    ctx: typer.Context,
    service: str = typer.Option(
        ..., "--service", metavar="NAME", help="Whose WAL to look at.", autocompletion=service_names
    ),
    xid: str | None = typer.Option(None, "--xid", metavar="N", help="How this transaction ended, where and when."),
    between: tuple[str, str] | None = typer.Option(
        None, "--between", metavar="FROM TO", help="What ended between two times, and how much in each minute."
    ),
    name: str | None = typer.Option(
        None, "--name", metavar="X", help="Where the restore points of this name are; with --between, in no other WAL."
    ),
    timeline: str = typer.Option(
        "latest", "--timeline", metavar="N", help="The timeline to follow: a number, latest or current."
    ),
) -> None:
    """Find the instant to recover to in the archived WAL: by transaction, by time, or by a restore point's name."""
    from holdfast.cli.wal.found import hole_words
    from holdfast.operations.wal.find import WalFindRequest, ask
    from holdfast.restore.target import parse_timeline

    run = Invocation.of(ctx)
    question = _question(xid, between, name)
    request = WalFindRequest(service, parse_timeline(timeline), run.repository)
    stack = run.stack()
    with run.reporter() as reporter:
        finder, show = ask(stack, request, question, reporter)
        for hole in finder.holes:
            reporter.warning(hole_words(hole))
    show(run, f"holdfast restore {service}" + (f" --timeline {timeline}" if timeline != "latest" else ""))


def _question(xid: str | None, between: tuple[str, str] | None, name: str | None) -> Question[Show]:
    """Return what was asked; UsageError when that is nothing, or more than one thing."""
    from holdfast import clock
    from holdfast.cli.wal.questions import AboutInterval, AboutRestorePoint, AboutTransaction
    from holdfast.restore.target import NameGoal, XidGoal, parse_target
    from holdfast.restore.target_time import parse_time

    now = clock.now()
    match xid, between, name:
        case str(), None, None:
            transaction = parse_target(f"xid:{xid}", now, None).goal
            assert isinstance(transaction, XidGoal)
            return AboutTransaction(transaction.xid)
        case None, (begin, end), None:
            return AboutInterval.of(parse_time(begin, now, None), parse_time(end, now, None))
        case None, _, str():
            point = parse_target(f"name:{name}", now, None).goal
            assert isinstance(point, NameGoal)
            within = AboutInterval.of(*(parse_time(words, now, None) for words in between)) if between else None
            return AboutRestorePoint(point.name, within)
    raise UsageError(
        "say what to find, in one way",
        hint="one of --xid N, --between FROM TO, --name X; --between goes with --name, too",
    )
