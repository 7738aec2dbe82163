"""What a recovery needs of the cluster that recovers: the part that a kind of service knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.postgres.timeline import Timeline
    from holdfast.services.postgres.recovery.state import Halt, ReplayState, WrittenState


class RecoveringCluster(Protocol):
    """A cluster that replays WAL until it halts, and then does what it is told."""

    @property
    def stopping_line(self) -> str:
        """The server's own line on why it halted at its target, empty if it did not."""
        ...

    @property
    def telling_lines(self) -> tuple[str, ...]:
        """The lines of the server's log that may explain why it got no further."""
        ...

    def wait(self, watch: Callable[[ReplayState], None], is_starved: Callable[[], bool]) -> tuple[Halt, ReplayState]:
        """Wait until the server rests; ``watch`` sees what is seen on the way."""
        ...

    def write_down(self) -> WrittenState:
        """Return what the control file says, brought up to date; only while the server rests in recovery."""
        ...

    def pause(self) -> ReplayState:
        """Have replay rest where it is, and return that state."""
        ...

    def rest_here(self) -> None:
        """Make sure that a paused server can be promoted, though it did not halt at a target."""
        ...

    def promote(self) -> Timeline:
        """End recovery and return the new timeline."""
        ...
