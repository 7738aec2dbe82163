"""``holdfast diff``: what changed from one snapshot to another."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import typer

from holdfast.cli import text
from holdfast.cli.completion import snapshot_ids
from holdfast.cli.invocation import Invocation

if TYPE_CHECKING:
    from holdfast.repository.compare import Difference

_PAGE_BYTES = 8192
_SIGNS = {"added": "+", "removed": "-", "content": "M", "attributes": "U"}


def diff(
    ctx: typer.Context,
    before: str = typer.Argument(help="The first snapshot, by its first digits.", autocompletion=snapshot_ids),
    after: str = typer.Argument("latest", help="The second snapshot.", autocompletion=snapshot_ids),
) -> None:
    """Show what differs between two snapshots: + added, - removed, M other content, U other owner or mode."""
    from holdfast.config.load import find_stack_file, load_stack
    from holdfast.operations.diff import diff as operation

    run = Invocation.of(ctx)
    totals = _Totals()
    for difference in operation(load_stack(find_stack_file(run.config)), run.repository, before, after):
        totals.add(difference)
        run.output.emit("difference", _message(difference), partial(_words, difference))
    run.output.emit("differences", totals.message(), totals.words)


class _Totals:
    """Counts paths by what became of them, and bytes of files on either side."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._before_bytes = self._after_bytes = 0

    def add(self, difference: Difference) -> None:
        self._counts[difference.change] += 1
        self._before_bytes += difference.before.size if difference.before else 0
        self._after_bytes += difference.after.size if difference.after else 0

    def message(self) -> dict[str, object]:
        counts = {change: self._counts[change] for change in _SIGNS}
        return {**counts, "before_bytes": self._before_bytes, "after_bytes": self._after_bytes}

    def words(self) -> str:
        counts = ", ".join(f"{self._counts[change]:,} {change}" for change in ("added", "removed"))
        changed = (
            f"{self._counts['content']:,} with other content, {self._counts['attributes']:,} with other attributes"
        )
        sizes = f"these paths had {text.size(self._before_bytes)}, and have {text.size(self._after_bytes)}"
        return f"{counts}, {changed}; {sizes}"


def _message(difference: Difference) -> dict[str, object]:
    entry = difference.after or difference.before
    assert entry is not None
    return {
        "path": difference.path,
        "kind": entry.kind.name.lower(),
        "change": difference.change,
        "before_bytes": difference.before.size if difference.before else None,
        "after_bytes": difference.after.size if difference.after else None,
        "changed_bytes": difference.changed_bytes,
        "changed_pages": _pages(difference.changed_bytes),
    }


def _pages(changed_bytes: int | None) -> int | None:
    """Return in how many pages of 8 KiB so many bytes lie, None for None."""
    return None if changed_bytes is None else -(-changed_bytes // _PAGE_BYTES)


def _words(difference: Difference) -> str:
    from holdfast.repository.names import shown

    sizes = [text.size(entry.size) for entry in (difference.before, difference.after) if entry is not None]
    if len(set(sizes)) == 1:
        sizes = sizes[:1]
    pages = _pages(difference.changed_bytes)
    changed = f", {text.count(pages, 'page')} changed" if pages else ""
    return f"{_SIGNS[difference.change]} {shown(difference.path)}  ({' -> '.join(sizes)}{changed})"
