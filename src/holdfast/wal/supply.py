"""Supplies a recovering server with WAL from the archive, from within the process that holds the keys.

One thread answers what ``restore_command`` asks; others fetch ahead. Every answer comes from the archive as it is at
the question, but for segments that were proven whole and laid ready: these never change.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from holdfast import clock
from holdfast.errors import HoldfastError
from holdfast.postgres.segment import is_segment_name
from holdfast.wal.fetch import Fetched, WalSource
from holdfast.wal.handover import Handover
from holdfast.wal.names import kind_of
from holdfast.wal.prefetch import Prefetcher, PrefetchLimits
from holdfast.wal.restore_command import Verdict, supplied_command
from holdfast.wal.route import Route

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from holdfast.postgres.account import Account
    from holdfast.postgres.timeline import Timeline, TimelineHistory
    from holdfast.wal.archive import WalArchive
    from holdfast.wal.fetch import Inspect
    from holdfast.wal.handover import Request


@dataclass(frozen=True, slots=True)
class Served:
    """What a supply did: segments handed over, the bytes of all files, and questions that found nothing ready.

    ``waited_s`` is how long these took, ``last`` the newest segment, ``part_bytes`` how much of it was WAL if it was
    not whole.
    """

    segments: int = 0
    size_bytes: int = 0
    waits: int = 0
    waited_s: float = 0.0
    last: str | None = None
    part_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class SupplyOptions:
    """``account`` is the server's; ``limits`` say how far ahead to fetch.

    ``inspect`` as of ``WalSource``, ``own`` as of ``Route``.
    """

    account: Account
    limits: PrefetchLimits = field(default_factory=PrefetchLimits)
    inspect: Inspect = iter
    own: Timeline | None = None


class WalSupply:
    """Answers a server's ``restore_command`` as long as the ``with`` block lasts.

    ``history`` is that of the target timeline, None to learn it from what the server reads. ``spool`` is a directory to
    make, best ``pg_wal/SPOOL_NAME`` of the cluster; BusyError when another process supplies there. ``segment_size`` in
    bytes. When this process is gone, however it went, the command ends with STOP_EXIT, and recovery stops.
    """

    def __init__(
        self,
        archive: WalArchive,
        history: TimelineHistory | None,
        spool: Path,
        segment_size: int,
        options: SupplyOptions,
    ) -> None:
        """Only remember."""
        self._route = Route(history, segment_size, options.own)
        self._source = WalSource(archive, self._route, options.inspect)
        self._spool, self._options = spool, options
        self._lock = threading.Lock()
        self._served = Served()
        self._failure: HoldfastError | None = None
        self._is_acting = False
        self._last_request_s = clock.monotonic()

    def __enter__(self) -> Self:
        """Make the directory and begin to answer."""
        self._handover = Handover(self._spool, self._options.account)
        self._prefetcher = Prefetcher(self._source.whole, self._handover, self._route, self._options.limits)
        self._thread = threading.Thread(target=self._serve, name="wal supply", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of who waits, and remove the directory. An answer that is still being fetched is not waited for."""
        self._prefetcher.close()
        self._handover.close()

    @property
    def restore_command(self) -> str:
        """The value of the setting, for this supply only."""
        return supplied_command(self._spool)

    @property
    def served(self) -> Served:
        """What was handed over until now."""
        with self._lock:
            return self._served

    @property
    def failure(self) -> HoldfastError | None:
        """Why recovery was stopped, if it was: the newest reason."""
        with self._lock:
            return self._failure

    @property
    def is_alive(self) -> bool:
        """Whether questions are still answered, at a directory that is still there."""
        return self._thread.is_alive() and self._handover.is_in_place

    @property
    def idle_s(self) -> float:
        """Seconds since the server last asked for or took anything; 0 while it waits for an answer."""
        with self._lock:
            return 0.0 if self._is_acting else clock.monotonic() - self._last_request_s

    def _serve(self) -> None:
        try:
            self._handover.serve(self._act)
        finally:  # also after a fault of ours: those who wait must not wait for ever
            self._handover.close()

    def _act(self, request: Request) -> None:
        with self._lock:
            self._is_acting = True
        if request.is_question:
            self._answer(request)
        else:
            self._hand_over(request.name, self._route.segment_size)
        with self._lock:
            self._is_acting, self._last_request_s = False, clock.monotonic()

    def _answer(self, request: Request) -> None:
        began = clock.monotonic()
        try:
            fetched = self._look_for(request.name)
        except HoldfastError as error:
            self._stop(request, Verdict.STOP, error)
            return
        if fetched.gap is not None:
            self._stop(request, Verdict.GAP, fetched.gap)
            return
        match fetched.verdict:
            case Verdict.READY:
                self._hand_over(request.name, fetched.length_bytes or self._route.segment_size)
            case Verdict.PART:
                self._hand_over_part(request.name, fetched.length_bytes)
        self._handover.answer(request, fetched.verdict, str(fetched.length_bytes))
        with self._lock:
            waited_s = self._served.waited_s + clock.monotonic() - began
            self._served = replace(self._served, waits=self._served.waits + 1, waited_s=waited_s)

    def _look_for(self, name: str) -> Fetched:
        """Return what there is, having laid it ready."""
        kind_of(name)
        self._prefetcher.wait_for(name)
        if self._handover.holds(name):
            return Fetched(Verdict.READY)
        return self._source.fetch(name, lambda fetched: self._lay_ready(name, fetched))

    def _lay_ready(self, name: str, fetched: Fetched) -> None:
        publish = self._handover.publish if fetched.verdict is Verdict.READY else self._handover.publish_part
        publish(name, fetched.content)

    def _stop(self, request: Request, verdict: Verdict, error: HoldfastError) -> None:
        with self._lock:
            self._failure = error
        self._handover.answer(request, verdict, f"{error.message} (HINT: {error.hint})")

    def _hand_over(self, name: str, size_bytes: int) -> None:
        with self._lock:
            served = replace(self._served, size_bytes=self._served.size_bytes + size_bytes)
            if is_segment_name(name):
                served = replace(served, segments=served.segments + 1, last=name, part_bytes=None)
            self._served = served
        if is_segment_name(name):
            self._prefetcher.advance(name)

    def _hand_over_part(self, name: str, length_bytes: int) -> None:
        with self._lock:
            self._served = replace(
                self._served, size_bytes=self._served.size_bytes + length_bytes, last=name, part_bytes=length_bytes
            )
