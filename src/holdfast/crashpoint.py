"""The named points at which the kill tests end the process: one list, so that none is forgotten.

In ordinary life ``reach`` costs one comparison. With ``HOLDFAST_CRASH_POINT=name`` (or ``name:N`` for its Nth
passing) in the environment the process sends itself SIGKILL there: no handler, no flush, as a power cut would.
"""

from __future__ import annotations

import os
from enum import StrEnum


class CrashPoint(StrEnum):
    """Where a run may be cut off; the kill tests visit every one."""

    INIT_SLOT_STORED = "init.slot-stored"
    SESSION_OPENED = "session.opened"
    BACKUP_STARTED = "backup.started"
    SPAN_READ = "backup.span-read"
    BACKUP_STOPPED = "backup.stopped"
    WAL_CAPTURED = "backup.wal-captured"
    PACK_FULL = "pack.full"
    PACK_STORED = "pack.stored"
    MANIFEST_BUILT = "manifest.built"
    PACKS_FLUSHED = "packs.flushed"
    INDEX_STORED = "index.stored"
    SNAPSHOT_STORED = "snapshot.stored"
    SESSION_CLOSED = "session.closed"
    RESTORE_PLANNED = "restore.planned"
    RESTORE_MARKED = "restore.marked"
    RESTORE_TREE_MADE = "restore.tree-made"
    RESTORE_SPAN_WRITTEN = "restore.span-written"
    RESTORE_FILE_DONE = "restore.file-done"
    RESTORE_CONTENT_WRITTEN = "restore.content-written"
    RESTORE_SYNCED = "restore.synced"
    RESTORE_CONTROL_RENAMED = "restore.control-renamed"
    RESTORE_FINISHED = "restore.finished"
    RECOVERY_STARTED = "recovery.started"
    RECOVERY_REACHED = "recovery.reached"
    RECOVERY_PROMOTED = "recovery.promoted"
    DELTA_CONTROL_ASIDE = "delta.control-aside"
    DELTA_TREE_CLEARED = "delta.tree-cleared"
    DELTA_CONTENT_WRITTEN = "delta.content-written"
    DELTA_CONTROL_NAMED = "delta.control-named"
    SWAP_STAGED = "swap.staged"
    SWAP_RECOVERED = "swap.recovered"
    SWAP_PROVEN = "swap.proven"
    SWAP_INTENDED = "swap.intended"
    SWAP_STOPPED = "swap.stopped"
    SWAP_STEP_DONE = "swap.step-done"
    SWAP_STARTED = "swap.started"
    SWAP_CHECKED = "swap.checked"
    SWAP_RECORDED = "swap.recorded"
    SWAP_FINISHED = "swap.finished"
    SWAP_TURNED_BACK = "swap.turned-back"
    SWAP_STEP_UNDONE = "swap.step-undone"
    SWAP_PUT_BACK = "swap.put-back"
    DROP_BEGUN = "drop.begun"
    DROP_DELETED = "drop.deleted"
    PUSH_READ = "push.read"
    PUSH_STORED = "push.stored"
    PUSH_ACKNOWLEDGED = "push.acknowledged"
    PUSH_GAP_NOTED = "push.gap-noted"
    SERVE_LOCKED = "serve.locked"
    FETCH_RECEIVED = "fetch.received"
    FETCH_WRITTEN = "fetch.written"
    FETCH_READY = "fetch.ready"
    FETCH_ANSWERING = "fetch.answering"
    RECEIVE_SLOT_MADE = "receive.slot-made"
    RECEIVE_HISTORY_STORED = "receive.history-stored"
    RECEIVE_RECEIVED = "receive.received"
    RECEIVE_PIECE_STORED = "receive.piece-stored"
    RECEIVE_SEGMENT_STORED = "receive.segment-stored"
    RECEIVE_PIECE_DELETED = "receive.piece-deleted"
    ADOPT_PROVEN = "adopt.proven"
    ADOPT_MARKED = "adopt.marked"


_NAME, _, _COUNT = os.environ.get("HOLDFAST_CRASH_POINT", "").partition(":")
_passings_left = int(_COUNT or 1)


def reach(point: CrashPoint) -> None:
    """End the process with SIGKILL here, when a test asked for this very point."""
    global _passings_left  # noqa: PLW0603 - one process, one crash
    if _NAME and point == _NAME:
        _passings_left -= 1
        if _passings_left == 0:
            import signal  # costs half a millisecond that a cold push does not have

            os.kill(os.getpid(), signal.SIGKILL)
