"""The settings of a recovery: one target at most, nothing of the cluster's own configuration in the way."""

from datetime import UTC, datetime

import pytest

from holdfast.postgres.lsn import Lsn
from holdfast.postgres.timeline import Timeline
from holdfast.services.postgres.recovery.settings import (
    WHEN_CONSISTENT,
    RecoverySettings,
    stop_at_lsn,
    stop_at_restore_point,
    stop_at_time,
    stop_at_xid,
)

AT = datetime(2026, 11, 20, 14, 3, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stop", "setting", "value"),
    [
        (stop_at_time(AT, is_inclusive=True), "recovery_target_time", "2026-11-20 14:03:00.000005+00:00"),
        (stop_at_lsn(Lsn(0x16B3748), is_inclusive=True), "recovery_target_lsn", "0/16B3748"),
        (stop_at_xid(741, is_inclusive=True), "recovery_target_xid", "741"),
        (stop_at_restore_point("x"), "recovery_target_name", "x"),
        (WHEN_CONSISTENT, "recovery_target", "immediate"),
        (None, None, None),
    ],
)
def test_at_most_one_target_is_set_and_it_is_set_last(stop, setting, value):
    settings = RecoverySettings(stop, Timeline(16), "true", {}).for_major(15)
    targets = {
        name: words
        for name, words in settings.items()
        if name.startswith("recovery_target") and name.rpartition("_")[2] not in {"timeline", "inclusive", "action"}
    }
    assert {name: words for name, words in targets.items() if words} == ({setting: value} if setting else {})
    assert list(targets)[-1] == setting or setting is None
    assert settings["recovery_target_timeline"] == "16"


def test_exclusive_is_said():
    stop = stop_at_xid(741, is_inclusive=False)
    assert RecoverySettings(stop, Timeline(1), "true", {}).for_major(15)["recovery_target_inclusive"] == "off"


def test_fault_37_what_would_reach_out_of_the_cluster_is_off():
    settings = RecoverySettings(None, Timeline(1), "true", {}).for_major(18)
    assert settings["archive_mode"] == "off"
    for name in ("primary_conninfo", "primary_slot_name", "recovery_end_command", "archive_cleanup_command"):
        assert settings[name] == ""


def test_settings_of_the_origin_are_kept_as_far_as_they_are_numbers():
    at_least = {"max_connections": "500", "shared_preload_libraries": "pg_stat_statements"}
    settings = RecoverySettings(None, Timeline(1), "true", at_least).for_major(15)
    assert settings["max_connections"] == "500"
    assert "shared_preload_libraries" not in settings


def test_each_version_gets_only_what_it_knows():
    settings = RecoverySettings(None, Timeline(1), "true", {})
    assert "promote_trigger_file" in settings.for_major(15)
    assert "promote_trigger_file" not in settings.for_major(16)


def test_what_stays_names_one_target_last_and_halts_there():
    settings = RecoverySettings(stop_at_xid(741, is_inclusive=False), Timeline(16), "true", {}).to_stay()
    assert list(settings)[-1] == "recovery_target_xid"
    assert settings["recovery_target_action"] == "pause"
    assert settings["recovery_target_inclusive"] == "off"
    assert RecoverySettings(None, Timeline(1), "true", {}).to_stay()["recovery_target"] == "immediate"
