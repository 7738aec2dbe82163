"""Every alert of ``wal status``, from made-up states: what raises it, and what does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from tests.unit.wal.worlds import BEGAN, Archive, history_of

from holdfast import clock
from holdfast.errors import DamageError
from holdfast.operations.wal.alerts import AlertKind, find_alerts
from holdfast.operations.wal.status import Waiting, WalStatus
from holdfast.postgres.archiving import ArchiverFacts, ArchivingFacts, SlotFacts
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.timeline import Timeline
from holdfast.wal.coverage import survey
from holdfast.wal.names import gap_name
from holdfast.wal.queue import Failure, PushState, Queue
from holdfast.wal.receive_state import LostWal, ReceiveState

SLOT = SlotFacts(
    "holdfast_db",
    is_active=True,
    restart_lsn="0/6400000",
    wal_status="reserved",
    retained_bytes=1,
    synchronous_standbys="",
)
ARCHIVER = ArchiverFacts(None, None, 0, None, None)
SERVER = ArchivingFacts(
    system_identifier="7",
    is_standby=False,
    timeline=Timeline(1),
    lsn=Lsn(100 << 20),
    segment_size=1 << 20,
    archive_mode="on",
    data_directory="/data",
    server_time=BEGAN,
    archiver=ARCHIVER,
    waiting=frozenset(),
    waiting_since=None,
    slot=SLOT,
)
RECEIVE = ReceiveState(service="db", slot="holdfast_db", pid=1)
SHIPPING = PushState("", "push", queue=None, is_full=False)


@pytest.fixture
def archive():
    archive = Archive()
    archive.add_segments(1, 2, 3, 4)
    return archive


def status_of(archive: Archive | None, *points, **known: object) -> WalStatus:
    coverage = None if archive is None else survey(archive, points, archive.segment_size)
    facts = {
        "repository_error": None,
        "server": SERVER,
        "server_error": None,
        "lag": None,
        "waiting": None,
        "push": None,
        "receive": None,
    }
    return WalStatus(
        service="db", snapshots=(), damages=(), system_identifier="7", coverage=coverage, **{**facts, **known}
    )


def kinds(status: WalStatus) -> list[AlertKind]:
    alerts = list(find_alerts(status))
    assert all(alert.words and alert.remedy for alert in alerts)
    return [alert.kind for alert in alerts]


def test_what_is_well_raises_nothing(archive):
    assert kinds(status_of(archive, archive.point(1, 2, 2.5), push=SHIPPING, receive=RECEIVE)) == []
    assert kinds(status_of(None, server=None)) == []


def test_a_snapshot_that_does_not_open_raises_the_alarm(archive):
    damaged = replace(status_of(archive), damages=(DamageError("snapshots/ab", "truncated"),))
    assert kinds(damaged) == [AlertKind.SNAPSHOT]


def test_a_gap_counts_when_a_snapshot_needs_it(archive):
    archive.add_segments(1, 7)
    assert kinds(status_of(archive, archive.point(1, 2, 2.5))) == [AlertKind.GAP]
    assert kinds(status_of(archive, archive.point(1, 7, 7.5))) == []


def test_what_waits_at_the_server_is_no_gap_while_later_segments_arrive_before_it(archive):
    archive.add_segments(1, 8)
    point = archive.point(1, 2, 2.5)
    names = {archive.name(1, number) for number in (5, 6, 7)}
    assert kinds(status_of(archive, point, waiting=Waiting(frozenset(names), clock.now()))) == []
    names.remove(archive.name(1, 6))
    assert kinds(status_of(archive, point, waiting=Waiting(frozenset(names), clock.now()))) == [AlertKind.GAP]


def test_what_was_being_written_or_received_when_the_server_was_asked_is_no_gap(archive):
    archive.add_segments(1, 6)
    point, size = archive.point(1, 2, 2.5), archive.segment_size
    writes_it = replace(SERVER, lsn=Lsn(5 * size + 1), slot=None)
    assert kinds(status_of(archive, point, server=writes_it)) == []
    receives_it = replace(SERVER, slot=replace(SLOT, restart_lsn=str(Lsn(5 * size + 1))))
    assert kinds(status_of(archive, point, server=receives_it)) == []
    has_written_it = replace(SERVER, lsn=Lsn(6 * size), slot=None)
    assert kinds(status_of(archive, point, server=has_written_it)) == [AlertKind.GAP]
    lags = replace(writes_it, is_standby=True)
    assert kinds(status_of(archive, point, server=lags)) == [AlertKind.GAP]
    elsewhere = replace(writes_it, timeline=Timeline(2))
    assert kinds(status_of(archive, point, server=elsewhere)) == [AlertKind.GAP]


def test_a_gap_asks_for_a_backup_unless_one_was_taken_since(archive):
    archive.add_segments(1, 7, 8)
    early, late = archive.point(1, 2, 2.5), archive.point(1, 7, 7.5)
    (alert,) = find_alerts(status_of(archive, early))
    assert "take a backup now" in alert.remedy
    (alert,) = find_alerts(status_of(archive, early, late))
    assert "a later snapshot opens a new window" in alert.remedy


def test_many_gaps_are_cut_short(archive):
    archive.add_segments(1, *range(7, 60, 2))
    alerts = list(find_alerts(status_of(archive, archive.point(1, 2, 2.5))))
    assert len(alerts) == 11
    assert "17 more gaps" in alerts[-1].words


def test_fault_05_wal_that_was_given_up_raises_the_alarm_until_nobody_needs_it(archive):
    archive.add(gap_name(archive.name(1, 5)))
    early, late = archive.point(1, 2, 2.5), archive.point(1, 5, 5.5)
    assert kinds(status_of(archive, early)) == [AlertKind.GIVEN_UP]
    assert kinds(status_of(archive, late)) == []
    archive.add_segments(1, 6)
    assert kinds(status_of(archive, early)) == [AlertKind.GAP]
    archive.add_segments(1, 5)
    assert kinds(status_of(archive, early)) == []
    noted = msgspec.structs.replace(SHIPPING, gaps=(archive.name(1, 7),))
    assert kinds(status_of(archive, early, push=noted)) == [AlertKind.GIVEN_UP]


def test_fault_05_a_full_queue_raises_the_alarm(archive):
    full = msgspec.structs.replace(SHIPPING, queue=Queue(3, 3 << 20, 1 << 20, archive.name(1, 5)), is_full=True)
    assert kinds(status_of(archive, push=full)) == [AlertKind.QUEUE_FULL]


def test_fault_06_what_the_server_wrongly_counts_as_archived(archive):
    def counted(name: str) -> WalStatus:
        return status_of(archive, server=replace(SERVER, archiver=replace(ARCHIVER, last_archived=name)))

    assert kinds(counted(archive.name(1, 5))) == [AlertKind.FALSELY_ARCHIVED]
    assert kinds(counted(archive.name(2, 3))) == [AlertKind.FALSELY_ARCHIVED]
    assert kinds(counted(archive.name(1, 4))) == []
    assert kinds(counted("00000002.history")) == []


def test_a_failing_command_or_push_raises_the_alarm(archive):
    failing = replace(
        ARCHIVER, last_archived_time=BEGAN, last_failed="x", last_failed_time=BEGAN + timedelta(seconds=1)
    )
    assert kinds(status_of(archive, server=replace(SERVER, archiver=failing))) == [AlertKind.FAILING]
    over = replace(failing, last_archived_time=BEGAN + timedelta(seconds=2))
    assert kinds(status_of(archive, server=replace(SERVER, archiver=over))) == []
    told = msgspec.structs.replace(SHIPPING, failure=Failure("the repository is away", None, None, "2026"))
    assert kinds(status_of(archive, push=told)) == [AlertKind.FAILING]


@pytest.mark.parametrize(("wal_status", "is_bad"), [("reserved", False), ("extended", False), ("lost", True)])
def test_the_slot_of_the_receiver(archive, wal_status, is_bad):
    server = replace(SERVER, slot=replace(SLOT, wal_status=wal_status))
    assert kinds(status_of(archive, server=server, receive=RECEIVE)) == [AlertKind.SLOT] * is_bad
    assert kinds(status_of(archive, server=server)) == [AlertKind.SLOT] * is_bad


def test_a_slot_that_is_not_there_matters_to_a_receiver_only(archive):
    server = replace(SERVER, slot=None)
    assert kinds(status_of(archive, server=server, receive=RECEIVE)) == [AlertKind.SLOT]
    assert kinds(status_of(archive, server=server)) == []
    assert kinds(status_of(archive, server=None, receive=RECEIVE)) == []


def test_wal_that_the_receiver_lost_asks_for_a_new_base(archive):
    lost = ReceiveState(
        service="db", slot="holdfast_db", pid=1, lost_wal=[LostWal(archive.name(1, 5), archive.name(1, 6), "2026")]
    )
    assert kinds(status_of(archive, archive.point(1, 2, 2.5), receive=lost)) == [AlertKind.LOST]
    assert kinds(status_of(archive, archive.point(1, 7, 7.5), receive=lost)) == []
    archive.add_segments(1, 5, 6)
    assert kinds(status_of(archive, archive.point(1, 2, 2.5), receive=lost)) == []


def test_histories_that_are_missing_or_do_not_open(archive):
    archive.add_segments(2, 4)
    assert kinds(status_of(archive)) == [AlertKind.HISTORY]
    (elsewhere,) = find_alerts(status_of(archive))
    assert "DATA/pg_wal/00000002.history" in elsewhere.remedy
    (own,) = find_alerts(status_of(archive, server=replace(SERVER, timeline=Timeline(2))))
    assert own.remedy == "holdfast wal push db /data/pg_wal/00000002.history"
    archive.add_history(history_of((1, archive.at(4.5)), (2, None)))
    assert kinds(status_of(archive)) == []

    def damaged(timeline):
        raise DamageError("wal/7/00000002/00000002.history", "truncated")

    archive.history = damaged
    assert kinds(status_of(archive)) == [AlertKind.HISTORY]


def test_a_slot_that_nobody_reads_fills_the_disk(archive):
    server = replace(SERVER, slot=replace(SLOT, is_active=False))
    assert kinds(status_of(archive, server=server, receive=RECEIVE)) == [AlertKind.SLOT]
    assert kinds(status_of(archive, server=server)) == [AlertKind.SLOT]


@pytest.mark.parametrize(("setting", "waits"), [("ANY 1 (other, Holdfast_DB)", True), ("other", False)])
def test_that_commits_wait_for_a_receiver_that_is_gone_is_told(archive, setting, waits):
    server = replace(SERVER, slot=replace(SLOT, is_active=False, synchronous_standbys=setting))
    (alert,) = find_alerts(status_of(archive, server=server, receive=RECEIVE))
    assert ("commits wait" in alert.words, "synchronous_standby_names" in alert.remedy) == (waits, waits)


@pytest.mark.parametrize(("minutes", "is_bad"), [(0, False), (4, False), (6, True)])
def test_what_waits_long_is_told_though_nothing_failed(archive, minutes, is_bad):
    waiting = Waiting(frozenset({"000000010000000000000012"}), clock.now() - timedelta(minutes=minutes))
    assert kinds(status_of(archive, waiting=waiting)) == [AlertKind.WAITING] * is_bad


@pytest.mark.parametrize(("slot", "is_bad"), [(SLOT, False), (None, True)])
def test_an_archive_that_nothing_is_added_to_any_more(archive, slot, is_bad):
    server = replace(SERVER, archive_mode="off", slot=slot)
    assert kinds(status_of(archive, server=server)) == [AlertKind.IDLE] * is_bad
    assert kinds(status_of(Archive(), server=server)) == []
