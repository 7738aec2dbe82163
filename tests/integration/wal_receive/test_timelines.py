"""The receiver follows its server over promotions, and starts right when they happened while it was away."""

import pytest
from tests.integration.backup_restore.clusters import ask, make_standby, sql
from tests.integration.backup_restore.stack import wait_until
from tests.integration.wal_receive.receiving import current, require_same_wal, wait_until_stored
from tests.integration.wal_receive.test_receive import FILL
from tests.servers.postgres import postgres_binaries

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.segment import segment_at
from holdfast.postgres.timeline import Timeline
from holdfast.wal.names import WalFileKind
from holdfast.wal.pieces import covering, pieces_of

SETTINGS = {"autovacuum": "off", "wal_keep_size": "1GB"}


def promote(standby):
    sql(standby, "SELECT pg_promote()")
    wait_until(lambda: not ask(standby, "SELECT pg_is_in_recovery()"))


def caught_up(primary, standby):
    position = ask(primary, "SELECT pg_current_wal_flush_lsn()::text")
    wait_until(lambda: ask(standby, f"SELECT pg_last_wal_replay_lsn() >= '{position}'"))
    return Lsn.parse(position)


def require_both_timelines(receiving, standby, until):
    history = receiving.archive.history(Timeline(2))
    switch = history.entries[0].end
    assert require_same_wal(receiving, standby, until) >= 2
    last_on_1 = segment_at(switch, Timeline(1), 16 << 20)
    pieces = covering(pieces_of(receiving.archive.list(Timeline(1)), last_on_1.name))
    assert pieces[-1].end == switch - last_on_1.start
    assert {Timeline(1), Timeline(2)} <= {file.timeline for file in receiving.archive.list()}
    assert not receiving.names(WalFileKind.CONFLICT)


@pytest.mark.parametrize(("major", "fill"), [(15, 0), (17, 20), (18, 1)])
def test_a_promotion_is_followed(make_cluster, make_receiving, major, fill):
    primary = make_cluster(postgres_binaries(major), settings=SETTINGS)
    standby = make_standby(make_cluster, primary)
    receiving = make_receiving(standby)
    child = receiving.start_streaming("--create-slot")
    sql(primary, FILL.format(20))
    caught_up(primary, standby)
    promote(standby)
    sql(standby, FILL.format(fill))
    until = wait_until_stored(receiving, standby)
    run = receiving.stop(child)
    assert run.code == 0, str(run)
    assert any("following timeline 2" in message.get("text", "") for message in run.messages)
    require_both_timelines(receiving, standby, until)
    assert receiving.state.timeline == 2


@pytest.mark.parametrize("fill", [0, 40])
def test_a_promotion_while_nobody_received(make_cluster, make_receiving, fill):
    primary = make_cluster(postgres_binaries(15), settings=SETTINGS)
    standby = make_standby(make_cluster, primary)
    receiving = make_receiving(standby)
    child = receiving.start_streaming("--create-slot")
    sql(primary, FILL.format(5))
    caught_up(primary, standby)
    receiving.stop(child)
    sql(primary, FILL.format(fill))
    caught_up(primary, standby)
    promote(standby)
    sql(standby, FILL.format(20))
    child = receiving.start_streaming()
    until = wait_until_stored(receiving, standby)
    assert receiving.stop(child).code == 0
    require_both_timelines(receiving, standby, until)


def test_fault_12_what_the_old_primary_wrote_alone_does_not_hold_up_the_new_one(make_cluster, make_receiving):
    primary = make_cluster(postgres_binaries(15), settings=SETTINGS)
    standby = make_standby(make_cluster, primary)
    receiving = make_receiving(primary)
    child = receiving.start_streaming("--create-slot")
    caught_up(primary, standby)
    promote(standby)
    sql(primary, FILL.format(40))  # on timeline 1, after the standby had left it
    wait_until_stored(receiving, primary)
    receiving.stop(child)
    primary.stop()
    receiving.stack.connections = {"db": standby.conninfo()}
    receiving.stack.write()
    child = receiving.start_streaming("--create-slot")
    sql(standby, FILL.format(20))
    until = wait_until_stored(receiving, standby)
    assert receiving.stop(child).code == 0
    segment, _ = current(standby)
    assert segment.timeline == 2
    assert require_same_wal(receiving, standby, until, timeline=Timeline(2)) >= 1
    first = receiving.archive.history(Timeline(2)).entries[0].end
    assert receiving.wal(segment_at(first, Timeline(2), 16 << 20)) is not None
