"""What a server that sends WAL hears from a backup: an answer whenever it asks for one."""

import os
from threading import Event

from holdfast.postgres.lsn import NO_LSN, Lsn
from holdfast.postgres.replication_messages import Keepalive
from holdfast.services.postgres.replication_wal import ArrivingWal


class Stream:
    """A stream on which a server asks for an answer, once."""

    has_ended = False

    def __init__(self, messages):
        self._messages = list(messages)
        self.is_answered = Event()
        self.reports = []

    def fileno(self):
        return self._readable

    def __enter__(self):
        self._readable = os.eventfd(0)
        return self

    def __exit__(self, *_):
        os.close(self._readable)

    def read(self):
        while self._messages:
            yield self._messages.pop(0)

    def report(self, status):
        self.reports.append(status)
        self.is_answered.set()


class Segments:
    """Segments of which some has come, and nothing is stored."""

    received, stored = Lsn(0x1000), NO_LSN


def test_a_server_that_asks_is_answered_at_once():
    """One that stops waits for it: the next report that is due anyway is ten seconds away."""
    asking = Stream([Keepalive(Lsn(0x1000), wants_reply=True)])
    with asking as stream, ArrivingWal(stream, Segments(), slot_moves=True):
        assert stream.is_answered.wait(9)
    assert [(status.received, status.flushed) for status in stream.reports] == [(Lsn(0x1000), NO_LSN)]


def test_a_server_that_does_not_ask_is_not_answered():
    telling = Stream([Keepalive(Lsn(0x1000), wants_reply=False)])
    with telling as stream, ArrivingWal(stream, Segments(), slot_moves=True):
        assert not stream.is_answered.wait(0.2)
