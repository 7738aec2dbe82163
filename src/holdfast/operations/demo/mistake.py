"""The second act: a table dropped by mistake at a known time comes back from the second before, in place.

The cluster stays where it is; what it was before is kept, and ``--undo`` exchanges the two, back and forth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.operations.demo.stage import Proof, Verdict
from holdfast.postgres.connection import connect, translated

if TYPE_CHECKING:
    from datetime import datetime

_PAUSE_S = 1.0
"""Between what must come back and the mistake: the target lies a second before it."""

_MAKE = (
    "CREATE TABLE public.invoices AS SELECT n::bigint AS id, (random() * 100000)::bigint AS cents "
    "FROM generate_series(1, 50000) n"
)
_DROP = "DROP TABLE public.invoices"
_SUM = "SELECT count(*), sum(cents)::bigint, sum(hashint8(id * 100000 + cents))::bigint FROM public.invoices"
_NOW = "SELECT now()"
_EXISTS = "SELECT to_regclass('public.invoices') IS NOT NULL"
_NOTE = "INSERT INTO public.ledger VALUES (-1, now(), 0)"
_HAS_NOTE = "SELECT count(*) FROM public.ledger WHERE id = -1"


@dataclass(frozen=True, slots=True)
class Mistake:
    """What was lost: the table's count and sums; ``before`` is the server's time a moment before it was dropped."""

    content: tuple[int, int, int]
    before: datetime


def make_mistake(conninfo: str) -> Mistake:
    """Make a table, wait, drop it, and go on working as if nothing had happened."""
    with connect(conninfo) as connection, translated("dropping a table by mistake"):
        connection.execute(_MAKE)
        content = connection.execute(_SUM).fetchone()
        clock.sleep(_PAUSE_S)
        before = connection.execute(_NOW).fetchone()
        clock.sleep(_PAUSE_S)
        connection.execute(_DROP)
        connection.execute(_NOTE)
    assert content is not None
    assert before is not None
    return Mistake(content, before[0])


def prove_returned(mistake: Mistake, conninfo: str) -> Proof:
    """The table is back as it was, and what was done after the target is not there."""
    with connect(conninfo) as connection, translated("reading what came back"):
        content = connection.execute(_SUM).fetchone()
        noted = connection.execute(_HAS_NOTE).fetchone()
    if content != mistake.content or noted != (0,):
        return Proof(Verdict.FAILED, f"the table came back with {content}, not {mistake.content}")
    return Proof(Verdict.PROVEN, f"the table is back with all its {content[0]:,} rows, as it was at the target")


def prove_undone(conninfo: str) -> Proof:
    """The state before the restore is in service again: without the table, and with what was done after it."""
    with connect(conninfo) as connection, translated("reading what is in service"):
        exists = connection.execute(_EXISTS).fetchone()
        noted = connection.execute(_HAS_NOTE).fetchone()
    if exists != (False,) or noted != (1,):
        return Proof(Verdict.FAILED, "the state before the restore is not the one in service")
    return Proof(Verdict.PROVEN, "undone: the table is gone again, and the row written after the mistake is there")
