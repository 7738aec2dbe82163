"""When pieces are stored: within the interval under load, soon after silence, at once for a synchronous standby.

For a synchronous standby of which many commit at a time: after a lull, so that they share pieces.
"""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from holdfast.wal.rhythm import BREATH_S, IDLE_S, LULL_S, Rhythm


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


def store(rhythm, *, came, began, came_meanwhile=()):
    """One turn of a synchronous standby; the storing ends after what came in meanwhile."""
    rhythm.received(came)
    rhythm.began_to_store(began)
    for now in came_meanwhile:
        rhythm.received(now)
    rhythm.has_stored()


def test_a_session_that_commits_alone_is_never_kept_waiting():
    rhythm = Rhythm(3600, is_synchronous=True)
    for turn in range(100):
        now = 100 + turn * 0.002
        store(rhythm, came=now, began=now)
        assert rhythm.listens_at() < now
    rhythm.received(101.0)
    assert rhythm.due_at() == 101.0


def test_where_many_commit_they_share_pieces():
    rhythm = Rhythm(3600, is_synchronous=True)
    store(rhythm, came=100.0, began=100.0, came_meanwhile=[100.001])
    store(rhythm, came=100.001, began=100.002, came_meanwhile=[100.003])
    assert rhythm.due_at() == 100.003  # once may be chance
    store(rhythm, came=100.003, began=100.004)
    assert rhythm.listens_at() == 100.004 + LULL_S
    rhythm.received(100.005)
    assert rhythm.due_at() == 100.004 + LULL_S


def test_a_crowd_that_has_gone_is_forgotten():
    rhythm = Rhythm(3600, is_synchronous=True)
    for now in (100.0, 100.01, 100.02):
        store(rhythm, came=now, began=now, came_meanwhile=[now + 0.001])
    assert rhythm.listens_at() > 100.02
    now = 100.02
    while rhythm.listens_at() > now:  # each waits for the lull, and nothing comes in meanwhile
        now = rhythm.listens_at()
        store(rhythm, came=now, began=now)
        assert now < 101
    rhythm.received(now + 0.001)
    assert rhythm.due_at() == now + 0.001


def test_what_comes_in_bursts_is_listened_to_with_a_breath():
    rhythm = Rhythm(0.5, is_synchronous=False)
    assert rhythm.listens_at() < 100
    rhythm.received(100.0)
    assert rhythm.listens_at() == 100 + BREATH_S


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
