"""When pieces are stored: within the interval under load, soon after silence, at once for a synchronous standby."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from holdfast.wal.rhythm import IDLE_S, Rhythm


def test_nothing_received_is_never_due():
    assert Rhythm(0.5, is_synchronous=False).due_at() is None
    assert Rhythm(0.5, is_synchronous=True).due_at() is None


def test_a_burst_after_silence_is_stored_when_it_is_over():
    rhythm = Rhythm(0.5, is_synchronous=False)
    rhythm.received(100.0)
    rhythm.received(100.2)
    assert rhythm.due_at() == 100.2 + IDLE_S


def test_a_trickle_is_stored_once_in_the_interval():
    rhythm = Rhythm(0.5, is_synchronous=False)
    rhythm.received(100.0)
    rhythm.began_to_store(100.05)
    rhythm.received(100.1)
    assert rhythm.due_at() == 100.55


def test_a_synchronous_standby_does_not_wait():
    rhythm = Rhythm(3600, is_synchronous=True)
    rhythm.received(100.0)
    rhythm.began_to_store(100.0)
    rhythm.received(100.01)
    assert rhythm.due_at() == 100.01


@given(st.lists(st.floats(0.001, 2), min_size=1, max_size=50), st.floats(0.1, 2))
def test_no_byte_waits_longer_than_the_interval_or_the_silence(pauses, interval_s):
    rhythm, now, oldest, stores = Rhythm(interval_s, is_synchronous=False), 0.0, None, []
    for pause in pauses:
        due_at = rhythm.due_at()
        if due_at is not None and due_at <= now + pause:
            assert due_at <= oldest + interval_s + 1e-9
            stores.append(due_at)
            rhythm.began_to_store(due_at)
            oldest = None
        now += pause
        rhythm.received(now)
        oldest = now if oldest is None else oldest
    assert all(after - before >= interval_s - 1e-9 for before, after in pairwise(stores))
