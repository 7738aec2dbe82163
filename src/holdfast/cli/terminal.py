"""Live progress on a terminal. Alone in its file because it imports rich, which costs a script nothing this way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from holdfast.cli import text

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from holdfast.cli.standing import Standing


class TerminalDisplay:
    """One line that is redrawn in place; remarks and warnings scroll by above it."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def standing(self, standing: Standing) -> None:
        """Redraw the line."""
        self._live.update(_row(standing), refresh=True)

    def notice(self, words: str) -> None:
        """Print a remark above the line."""
        self._console.print(Text(text.harmless(words)))

    def warning(self, words: str) -> None:
        """Print a warning above the line."""
        self._console.print(Text(text.harmless(f"warning: {words}"), style="yellow"))


def _row(standing: Standing) -> Table:
    cells: list[Text | ProgressBar] = [Text(standing.phase, style="bold")]
    if standing.total_bytes:
        cells.append(ProgressBar(total=standing.total_bytes, completed=standing.done_bytes, width=24))
        cells.append(Text(f"{text.size(standing.done_bytes)} of {text.size(standing.total_bytes)}"))
    elif standing.done_bytes:
        cells.append(Text(text.size(standing.done_bytes)))
    if standing.done_bytes:
        cells.append(Text(text.rate(standing.bytes_per_s)))
    if standing.remaining_s is not None:
        cells.append(Text(f"{text.duration(standing.remaining_s)} left"))
    grid = Table.grid(padding=(0, 2))
    grid.add_row(*cells)
    return grid
