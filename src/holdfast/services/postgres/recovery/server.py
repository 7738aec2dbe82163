"""A restored cluster in recovery, run by us on a private socket until it halts: at its target, or for want of WAL."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

from holdfast import clock
from holdfast.errors import ServerError, ServerUnreachableError
from holdfast.postgres.initdb import add_settings
from holdfast.postgres.local import LocalCluster, StopMode
from holdfast.postgres.shared_memory import modest_settings
from holdfast.services.postgres.recovery import words
from holdfast.services.postgres.recovery.settings import WHEN_CONSISTENT
from holdfast.services.postgres.recovery.signals import Signal, put_signal
from holdfast.services.postgres.recovery.state import Halt, Observer
from holdfast.services.postgres.workers import may_have_workers, promoted_without_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from holdfast.postgres.binaries import Binaries
    from holdfast.postgres.lsn import Lsn
    from holdfast.postgres.timeline import Timeline
    from holdfast.services.postgres.recovery.settings import RecoverySettings
    from holdfast.services.postgres.recovery.state import ReplayState, WrittenState

_AUTO_CONF = "postgresql.auto.conf"
_STAYING = """
# Added by holdfast when this cluster was recovered to a target and shut down there: it halts there again when it is
# started, and SELECT pg_promote() ends recovery. Then these lines are of no use any more.
"""
_POLL_S = 0.1
_STOP_TIMEOUT_S = 600
_PROMOTE_TIMEOUT_S = 600
_TRUSTED_LOOKS = 2


class SettingsTooLowError(ServerError):
    """The origin raised settings after the snapshot; ``needed`` are their values."""

    def __init__(self, needed: dict[str, str]) -> None:
        super().__init__(f"recovery needs {', '.join(f'{name} = {value}' for name, value in needed.items())}")
        self.needed = needed


class RecoveringServer:
    """The server of one recovery. As a context manager it is stopped at the end, unless it was told to stay.

    ``roles``: names under which somebody may exist in the cluster, to ask for its superuser. ``log`` is what servers
    before it wrote, that began this recovery. Not for several threads.
    """

    def __init__(
        self, binaries: Binaries, data_directory: Path, settings: RecoverySettings, roles: Sequence[str], log: str = ""
    ) -> None:
        self._binaries, self._data_directory, self._settings = binaries, data_directory, settings
        self._modest = modest_settings(binaries, data_directory)
        self._cluster, self._log = self._new_cluster(settings), log
        self._roles = roles
        self._observer: Observer | None = None

    def __enter__(self) -> Self:
        """Begin recovery."""
        put_signal(self._data_directory, Signal.STAY)
        self._cluster.launch()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server, in order where all went well, and remove its socket."""
        self._disconnect()
        try:
            if error is None:
                self.stop()
        finally:
            self._log += self._cluster.log()
            self._cluster.close()

    @property
    def stopping_line(self) -> str:
        """The server's own line on why it halted at the target, empty if it did not."""
        return words.stopping_line(self._cluster.log())

    @property
    def telling_lines(self) -> tuple[str, ...]:
        """The end of the server's log, without what is ordinary."""
        return words.telling_lines(self._cluster.log())

    def log(self) -> str:
        """Return all that the server wrote, and those before it that were started anew."""
        return self._log + self._cluster.log()

    def conninfo(self, *, user: str | None = None, dbname: str | None = None) -> str:
        """Return the connection string: as the superuser, to a database that exists, where nothing else is given."""
        return self._cluster.conninfo(user=user or self._ask.role, dbname=dbname or self._ask.database)

    def wait(self, watch: Callable[[ReplayState], None], is_starved: Callable[[], bool]) -> tuple[Halt, ReplayState]:
        """Wait until the server rests; ``watch`` is called with what is seen on the way.

        ``is_starved`` says whether it asks for WAL in vain, as long as it takes no connections. Raises
        SettingsTooLowError, and ServerError with the server's last words when it gives up.
        """
        looks_alike, before = 0, None
        while True:
            state = self._look()
            if state is None:
                if is_starved():
                    raise self._never_ready()
                clock.sleep(_POLL_S)
                continue
            watch(state)
            if not state.is_in_recovery:
                return Halt.ENDED_ITSELF, state
            if state.is_paused:
                self._require_settings()
                return Halt.AT_TARGET, state
            looks_alike = looks_alike + 1 if state.lacks_wal and state == before else 0
            if looks_alike >= _TRUSTED_LOOKS:
                return Halt.NO_MORE_WAL, state
            before = state
            clock.sleep(_POLL_S)

    def write_down(self) -> WrittenState:
        """Return what the control file says, brought up to date; only after a halt, in recovery."""
        return self._ask.write_down()

    def pause(self) -> ReplayState:
        """Have replay rest where it is, also when more WAL appears; return that state."""
        self._ask.pause()
        while not (state := self._ask.look()).is_paused and state.is_in_recovery:
            clock.sleep(_POLL_S)
        return state

    def rest_here(self) -> None:
        """Make sure that a paused server can be promoted, though it did not reach the target that it was given.

        A target that the WAL did not reach would have the server give up at its promotion ("recovery ended before
        configured recovery target was reached"). So it is started anew with this very place as its target, which it
        has in its control file as the one from which on it is consistent.
        """
        if self._settings.stop is None:
            return
        reached = self._ask.look().lsn
        for stop in (WHEN_CONSISTENT, None):  # None: where not one record remains to be replayed, nothing halts
            halt, state = self._restart(replace(self._settings, stop=stop))
            if state.lsn != reached:
                raise ServerError(
                    f"started again, the server came to {state.lsn} instead of {reached}",
                    hint="the archive grew meanwhile: recover again",
                )
            if halt is Halt.AT_TARGET:
                self._settings = replace(self._settings, stop=stop)
                return
        self.pause()

    def promote(self) -> Timeline:
        """End recovery, wait until the server writes, and return its new timeline."""
        if may_have_workers(self._binaries, self._data_directory):
            state = self._ask.look()
            if state.is_in_recovery:
                self._promote_without_workers(state.lsn)
        return self._ask.promote(_PROMOTE_TIMEOUT_S)

    def _promote_without_workers(self, reached: Lsn) -> None:
        """Start a server anew that has no room for workers, and is to end recovery where this one rests."""
        self._end()
        put_signal(self._data_directory, Signal.END)
        self._cluster = promoted_without_workers(self._binaries, self._data_directory, self._settings, self._modest)
        ended = self._ask.history().entries[-1].begin
        if ended != reached:
            raise ServerError(
                f"started again, the server ended recovery at {ended} instead of {reached}",
                hint="recover again; if this comes back, report it",
            )

    def stop(self) -> None:
        """Stop the server in order."""
        self._disconnect()
        self._cluster.stop(StopMode.FAST, timeout_s=_STOP_TIMEOUT_S)

    def stay_at_target(self) -> None:
        """Write into the cluster's configuration that it halts here again, whenever it is started in recovery."""
        path = self._data_directory / _AUTO_CONF
        with path.open("a", encoding="utf-8") as file:
            file.write(_STAYING)
        add_settings(path, self._settings.to_stay())

    def leave_running(self) -> None:
        """Let the server run on after us."""
        self._disconnect()
        self._cluster.leave_running()

    def _new_cluster(self, settings: RecoverySettings) -> LocalCluster:
        own = {**self._modest, **settings.for_major(self._binaries.major)}
        return LocalCluster(self._binaries, self._data_directory, settings=own)

    def _end(self) -> None:
        """Stop the server for good; another one will go on with the directory."""
        self.stop()
        self._log += self._cluster.log()
        self._cluster.close()

    def _restart(self, settings: RecoverySettings) -> tuple[Halt, ReplayState]:
        self._end()
        self._cluster = self._new_cluster(settings)
        self._cluster.launch()
        return self.wait(lambda _: None, lambda: False)

    @property
    def _ask(self) -> Observer:
        if self._observer is None:
            self._observer = Observer.connect(self._cluster.conninfo, self._roles)
        return self._observer

    def _disconnect(self) -> None:
        if self._observer is not None:
            self._observer.close()
            self._observer = None

    def _look(self) -> ReplayState | None:
        """Return what is seen, None while nobody may connect yet."""
        if not self._cluster.is_running:
            raise self._gave_up()
        if not self._cluster.is_ready:
            return None
        try:
            return self._ask.look()
        except ServerUnreachableError:
            self._disconnect()
            return None

    def _require_settings(self) -> None:
        """Raise when it is for settings that the server rests: it says so, and it is not at its target then."""
        needed = words.settings_too_low(self._cluster.log())
        if needed and not self.stopping_line:
            raise SettingsTooLowError(needed)

    def _never_ready(self) -> ServerError:
        return ServerError(
            "the WAL ended before the cluster could be looked into",
            hint="choose an earlier snapshot (--snapshot), or a later target",
            details=self.telling_lines,
        )

    def _gave_up(self) -> ServerError:
        log = self._cluster.log()
        if needed := words.settings_too_low(log):
            return SettingsTooLowError(needed)
        return ServerError(
            f"the server gave up recovery: {words.ending_words(log) or 'it ended without a word'}",
            hint="the lines above are the end of its log",
            details=words.telling_lines(log),
        )
