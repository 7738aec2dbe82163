"""The directory in which WAL is handed to a recovering server, from the side of the process that supplies it.

It holds the script that ``restore_command`` sources, two FIFOs for questions and answers, and the files that lie ready.
Best it lies within the server's ``pg_wal``: taking a file is a rename then. Elsewhere ``mv`` copies, which is no less
safe, as PostgreSQL believes a file only when the command ended with 0.

It belongs to the server's account in the end, so it is filled before it is given away.
"""

from __future__ import annotations

import os
import select
import shutil
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from holdfast import crashpoint
from holdfast.crashpoint import CrashPoint
from holdfast.errors import HoldfastError
from holdfast.wal.private_directory import (
    PID_NAME,
    READ_DIRECTORY,
    locked_directory,
    remove_file,
    unwritable,
    write_file,
)
from holdfast.wal.restore_command import ANSWER, ASK, PART_SUFFIX, READY, SCRIPT_NAME, TURN, script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

    from holdfast.postgres.account import Account
    from holdfast.storage.base import Buffer
    from holdfast.wal.restore_command import Verdict

_TEMPORARY_SIGN = "~"
_READ_BYTES = 65536
# Both ways: no end of the FIFO is ever missing, whatever scripts come and go.
_FIFO = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Request:
    """One line of a script: a question, or the note that a ready file was taken. ``asker`` is a process id."""

    is_question: bool
    asker: str
    name: str


class Handover:
    """The directory, locked as long as this object is open; ``close`` removes it. ``account`` is the server's.

    ``serve`` is for one thread, ``answer`` for what it calls; the rest is for any thread.
    """

    def __init__(self, spool: Path, account: Account) -> None:
        """Make the directory, or take over what a killed process left; BusyError when another one supplies there."""
        self._spool, self._account = spool, account
        self._directory = locked_directory(spool)
        self._lock = threading.Condition()
        self._is_closed, self._is_serving, self._files_at_work = False, False, 0
        self._descriptors: list[int] = []
        self._is_furnished = False
        try:
            self._furnish()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    @property
    def is_in_place(self) -> bool:
        """Whether the directory still has its path: a data directory may be deleted at any time."""
        with self._lock:
            return not self._is_closed and self._has_its_path()

    def publish(self, name: str, content: Iterable[Buffer]) -> None:
        """Lay a file ready, in one step, unless going through its content raises; NoSpaceError, StorageError.

        After ``close`` nothing happens.
        """
        with self._ready_directory() as directory:
            if directory is not None:
                self._publish(directory, name, content)
                crashpoint.reach(CrashPoint.FETCH_READY)

    def publish_part(self, name: str, content: Iterable[Buffer]) -> None:
        """Lay a segment ready for one question only: it may have grown when it is asked for again."""
        self.publish(name + PART_SUFFIX, content)

    def withdraw(self, name: str) -> None:
        """Remove a file that was laid ready, unless it was taken."""
        with self._ready_directory() as directory:
            if directory is not None:
                remove_file(name, directory)

    def holds(self, name: str) -> bool:
        """Whether a file lies ready."""
        return (self._spool / READY / name).exists()

    def serve(self, act: Callable[[Request], None]) -> None:
        """Call ``act`` with what scripts write, as it comes, until ``close``."""
        with self._lock:
            if self._is_closed:
                return
            self._is_serving = True
        try:
            unread = b""
            while self._hung_up not in (readable := select.select([self._asked, self._hung_up], [], [])[0]):
                assert readable
                *lines, unread = (unread + os.read(self._asked, _READ_BYTES)).split(b"\n")
                for line in lines:
                    match line.decode("ascii", "replace").split(" ", 2):
                        case ["ask" | "took" as verb, asker, name]:
                            act(Request(verb == "ask", asker, name))
        finally:
            self._end_serving()

    def answer(self, request: Request, verdict: Verdict, words: str = "") -> None:
        """Tell the script that asked."""
        crashpoint.reach(CrashPoint.FETCH_ANSWERING)
        os.write(self._answers, f"{request.asker} {verdict} {' '.join(words.split())}\n".encode())

    def close(self) -> None:
        """Let those who wait go, end ``serve``, and remove the directory. An action of ``serve`` is not waited for."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            if self._is_furnished:
                self._let_go()
            self._lock.wait_for(lambda: not self._files_at_work)
            if self._has_its_path():
                leaving = self._spool.with_name(f"{self._spool.name}.{os.getpid()}")
                with suppress(OSError):  # the data directory may be being deleted in this moment
                    os.rename(self._spool, leaving)  # in one step: whoever comes now begins anew
                    shutil.rmtree(leaving)
            os.close(self._directory)
            self._release_unused()

    def _end_serving(self) -> None:
        with self._lock:
            self._is_serving = False
            self._release_unused()

    def _let_go(self) -> None:
        """Put /dev/null in the place of the FIFOs: they have no writer then, and a late answer goes nowhere."""
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for descriptor in (self._asked, self._answers):
            os.dup2(null, descriptor, inheritable=False)
        os.close(null)
        os.write(self._hangs_up, b"!")

    def _release_unused(self) -> None:
        """Close what is open, when nobody works with it any more: the numbers may be other files' from then on."""
        if self._is_closed and not self._is_serving and not self._files_at_work:
            for descriptor in self._descriptors:
                os.close(descriptor)
            self._descriptors = []

    def _has_its_path(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._spool), os.fstat(self._directory))
        except OSError:
            return False

    def _furnish(self) -> None:
        """Fill the empty directory. The script comes last: it is the sign that somebody answers."""
        own = self._directory
        os.mkdir(READY, 0o700, dir_fd=own)
        for fifo in (ASK, ANSWER):
            os.mkfifo(fifo, 0o600, dir_fd=own)
        self._hung_up, self._hangs_up = map(self._kept, os.pipe2(os.O_CLOEXEC))
        self._ready = self._kept(os.open(READY, READ_DIRECTORY, dir_fd=own))
        self._asked = self._kept(os.open(ASK, _FIFO, dir_fd=own))
        self._answers = self._kept(os.open(ANSWER, _FIFO, dir_fd=own))
        for name in (READY, ASK, ANSWER):
            os.chown(name, self._account.uid, self._account.gid, dir_fd=own, follow_symlinks=False)
        write_file(own, TURN, (), self._account)
        write_file(own, PID_NAME, [b"%d\n" % os.getpid()], self._account)
        write_file(own, SCRIPT_NAME, [script(self._spool).encode()], self._account)
        os.fchown(own, self._account.uid, self._account.gid)
        self._is_furnished = True

    def _kept(self, descriptor: int) -> int:
        self._descriptors.append(descriptor)
        return descriptor

    @contextmanager
    def _ready_directory(self) -> Iterator[int | None]:
        """Give the directory of files, which stays until the block ends; None after ``close``."""
        with self._lock:
            is_closed = self._is_closed
            self._files_at_work += not is_closed
        try:
            yield None if is_closed else self._ready
        finally:
            with self._lock:
                self._files_at_work -= not is_closed
                self._lock.notify_all()
                self._release_unused()

    def _publish(self, directory: int, name: str, content: Iterable[Buffer]) -> None:
        temporary = _TEMPORARY_SIGN + name
        try:
            write_file(directory, temporary, content, self._account)
            crashpoint.reach(CrashPoint.FETCH_WRITTEN)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except HoldfastError:
            remove_file(temporary, directory)
            raise
        except OSError as error:
            remove_file(temporary, directory)
            raise unwritable(self._spool, error) from error
