"""A limit on how long a server may take to answer, kept on our side: one that stalls does not keep its own limits.

A backend that hangs on a dead disk, or a network that swallows everything, leaves libpq waiting for ever. Shutting the
socket down ends that wait, whatever the server does.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from holdfast.errors import ServerUnreachableError
from holdfast.thread import Thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.postgres.connection import Connection


@contextmanager
def answering_within(connection: Connection, limit_s: float) -> Iterator[None]:
    """Lose the connection when the block lasts longer than ``limit_s`` seconds.

    What fails in it by then is raised as ServerUnreachableError, which says so.
    """
    is_over, is_lost = threading.Event(), threading.Event()
    own = socket.socket(fileno=os.dup(connection.fileno()))

    def watch() -> None:
        if not is_over.wait(limit_s):
            is_lost.set()
            with suppress(OSError):  # the other side has just closed it
                own.shutdown(socket.SHUT_RDWR)

    watcher = Thread(watch, "answer-limit")
    watcher.start()
    try:
        yield
    except ServerUnreachableError:
        if is_lost.is_set():
            raise ServerUnreachableError(
                f"the server did not answer within {limit_s:g} s",
                hint="it may hang on its disk, or the network on the way to it: look at its log and at its machine",
            ) from None
        raise
    finally:
        is_over.set()
        watcher.wait()
        own.close()
