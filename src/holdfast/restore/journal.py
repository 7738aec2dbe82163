"""The journal beside a service: every restore in place, undo and drop, by whom and how it ended; lines are only added.

A deed has two lines, its beginning and its end: one without an end was cut off. Lines are durable before what they
tell of goes on.
"""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

import msgspec

from holdfast import __version__, clock
from holdfast.model import host_name
from holdfast.repository.journal import JournalEntry
from holdfast.restore.durable import sync_directory
from holdfast.restore.state import written

if TYPE_CHECKING:
    from holdfast.restore.state import StateDirectory

_JOURNAL = "journal.jsonl"


def new_entry(entry_id: str, stack: str, service: str, action: str, directory: str) -> JournalEntry:
    """Return the entry of a deed that begins now, by whoever runs this."""
    return JournalEntry(
        id=entry_id,
        stack=stack,
        service=service,
        action=action,
        who=_who(),
        host=host_name(),
        tool_version=__version__,
        begun=clock.now().isoformat(timespec="microseconds"),
        directory=directory,
        was="",
        became="",
    )


def ended(entry: JournalEntry, result: str, *, reason: str = "", outage_s: float | None = None) -> JournalEntry:
    """Return an entry with its end, which is now."""
    return msgspec.structs.replace(
        entry,
        ended=clock.now().isoformat(timespec="microseconds"),
        result=result,
        reason=reason,
        outage_s=None if outage_s is None else round(outage_s, 3),
    )


def append(state: StateDirectory, entry: JournalEntry) -> None:
    """Add a line, durably; StorageError when that is refused."""
    state.make(state.path)
    path = state.path / _JOURNAL
    is_new = not path.exists()
    with written(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with open(descriptor, "ab") as file:
            size_bytes = os.fstat(descriptor).st_size
            was_cut_off = size_bytes > 0 and os.pread(descriptor, 1, size_bytes - 1) != b"\n"
            file.write((b"\n" if was_cut_off else b"") + msgspec.json.encode(entry) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync_directory(path.parent)


def read_journal(state: StateDirectory) -> list[JournalEntry]:
    """Return the deeds, oldest first, each as its last line tells it; a line that was cut off is passed over."""
    try:
        lines = (state.path / _JOURNAL).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    by_id: dict[str, JournalEntry] = {}
    for line in lines:
        try:
            entry = msgspec.json.decode(line, type=JournalEntry)
        except msgspec.MsgspecError:
            continue
        by_id[entry.id] = entry
    return list(by_id.values())


def _who() -> str:
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    behind = os.environ.get("SUDO_USER", "")
    return f"{name} (sudo by {behind})" if behind and behind != name else name
