"""The settings with which a restored cluster recovers: given on the command line, so that nothing of them stays.

The cluster runs in standby mode (``standby.signal``): at the end of the WAL it waits instead of promoting itself or
giving up, so what it reached can be read from it before anything is decided (FAULTS 14, 15, 34). Whatever its own
configuration says of recovery, of archiving and of other servers is overruled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from holdfast.postgres.lsn import Lsn
    from holdfast.postgres.timeline import Timeline

# manual, section 20.5.6 "Recovery Target": at most one of them may be set.
_TARGETS = (
    "recovery_target",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_xid",
)
_LAST_MAJOR_WITH_TRIGGER_FILE = 15

_FIXED = {
    "hot_standby": "on",  # without it the server would take a pause for a promotion (FAULTS 15)
    "archive_mode": "off",
    "recovery_target_action": "pause",
    "recovery_end_command": "",
    "archive_cleanup_command": "",
    "recovery_min_apply_delay": "0",
    "primary_conninfo": "",  # of a snapshot that was taken from a standby: it would follow its old primary
    "primary_slot_name": "",
    "synchronous_standby_names": "",
    "max_logical_replication_workers": "0",
    "wal_retrieve_retry_interval": "1s",
    "autovacuum": "off",
    "huge_pages": "off",  # the live server beside it may hold all there are
    "restart_after_crash": "off",
    "lc_messages": "C",  # the server's own words are read, and shown
    "log_min_messages": "warning",
    "update_process_title": "on",
}


@dataclass(frozen=True, slots=True)
class StopPoint:
    """Where the server is told to halt: one of PostgreSQL's settings for it, and its value."""

    setting: str
    value: str
    is_inclusive: bool = True


WHEN_CONSISTENT = StopPoint("recovery_target", "immediate")


def stop_at_time(at: datetime, *, is_inclusive: bool) -> StopPoint:
    """Halt before the first transaction that ended after ``at`` (aware); exclusive: at it or after."""
    return StopPoint("recovery_target_time", at.isoformat(sep=" "), is_inclusive)


def stop_at_lsn(lsn: Lsn, *, is_inclusive: bool) -> StopPoint:
    """Halt after the record that begins at ``lsn`` or next after it; exclusive: before it."""
    return StopPoint("recovery_target_lsn", str(lsn), is_inclusive)


def stop_at_xid(xid: int, *, is_inclusive: bool) -> StopPoint:
    """Halt after the end of a transaction; exclusive: before it."""
    return StopPoint("recovery_target_xid", str(xid), is_inclusive)


def stop_at_restore_point(name: str) -> StopPoint:
    """Halt after a restore point."""
    return StopPoint("recovery_target_name", name)


@dataclass(frozen=True, slots=True)
class RecoverySettings:
    """What one recovery needs to know. ``at_least``: settings that must not be lower than they were, by name.

    ``stop`` None: all WAL there is. ``restore_command`` as PostgreSQL calls it.
    """

    stop: StopPoint | None
    timeline: Timeline
    restore_command: str
    at_least: Mapping[str, str]

    def for_major(self, major: int) -> dict[str, str]:
        """Return the settings for a server of a major version."""
        settings = {**_FIXED, **dict.fromkeys(_TARGETS, ""), **self._numbers()}
        settings["recovery_target_timeline"] = str(self.timeline)
        settings["restore_command"] = self.restore_command
        settings["recovery_target_inclusive"] = "on" if self.stop is None or self.stop.is_inclusive else "off"
        if self.stop is not None:
            # Last of all: unsetting another one after it counts as a second target (assign_recovery_target_xid, guc.c).
            del settings[self.stop.setting]
            settings[self.stop.setting] = self.stop.value
        if major <= _LAST_MAJOR_WITH_TRIGGER_FILE:
            settings["promote_trigger_file"] = ""
        return settings

    def to_stay(self) -> dict[str, str]:
        """Return what a server needs that is started later, without us, and is to halt at the same place again."""
        stop = self.stop or WHEN_CONSISTENT
        return {
            "hot_standby": "on",
            "primary_conninfo": "",
            "restore_command": "",
            **{name: "" for name in _TARGETS if name != stop.setting},
            "recovery_target_timeline": str(self.timeline),
            "recovery_target_inclusive": "on" if stop.is_inclusive else "off",
            "recovery_target_action": "pause",
            stop.setting: stop.value,
        }

    def _numbers(self) -> dict[str, str]:
        return {name: value for name, value in self.at_least.items() if value.isdigit()}
