"""How long a restore and a recovery will take: estimated from what earlier runs on this machine measured.

The rates lie in a small file of the cache, which may be lost at any time; then stated defaults serve.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "rates.json"
_MIB = 2**20
_LEAST_MEASURED_S, _LEAST_MEASURED_BYTES = 0.5, 32 * _MIB
"""A shorter run, or one of less, measures the start of programs, not the machine."""
_START_AND_VERIFY_S = 3.0


class Rates(msgspec.Struct, frozen=True):
    """Bytes per second: of files restored, and of WAL replayed. ``is_measured``: by earlier runs on this machine."""

    restore_bytes_s: float = 200.0 * _MIB
    replay_bytes_s: float = 50.0 * _MIB
    is_measured: bool = False

    def seconds(self, restored_bytes: int, replayed_bytes: int) -> float:
        """Return how long it takes to restore and to replay so much, with the start of the server."""
        return restored_bytes / self.restore_bytes_s + replayed_bytes / self.replay_bytes_s + _START_AND_VERIFY_S


def load_rates(cache: Path) -> Rates:
    """Return the rates that were measured last, or the defaults."""
    try:
        return msgspec.json.decode((cache / _NAME).read_bytes(), type=Rates)
    except (OSError, msgspec.MsgspecError):
        return Rates()


def keep_restore_rate(cache: Path, restored_bytes: int, seconds: float) -> None:
    """Remember how fast files were restored. Too short a run tells nothing; a cache that refuses is no error."""
    if seconds >= _LEAST_MEASURED_S and restored_bytes >= _LEAST_MEASURED_BYTES:
        rates = load_rates(cache)
        _keep(cache, msgspec.structs.replace(rates, restore_bytes_s=restored_bytes / seconds, is_measured=True))


def keep_replay_rate(cache: Path, replayed_bytes: int, seconds: float) -> None:
    """Remember how fast WAL was replayed, as above."""
    if seconds >= _LEAST_MEASURED_S and replayed_bytes >= _LEAST_MEASURED_BYTES:
        rates = load_rates(cache)
        _keep(cache, msgspec.structs.replace(rates, replay_bytes_s=replayed_bytes / seconds, is_measured=True))


def _keep(cache: Path, rates: Rates) -> None:
    with contextlib.suppress(OSError):
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = cache / f"{_NAME}.new"
        temporary.write_bytes(msgspec.json.encode(rates))
        temporary.replace(cache / _NAME)
