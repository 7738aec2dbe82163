"""Settings after the stack file was edited: made anew where that can be done from here, else what stands goes on.

An edit must not stop archiving: the server's account may be unable to read the stack file or a secret, and the file may
be half edited. WAL then goes on into the repository that was set up, and every push says what to do.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.config.load import load_stack
from holdfast.errors import HoldfastError
from holdfast.operations.wal.compilation import ClusterFacts, compile_settings, install

if TYPE_CHECKING:
    from holdfast.wal.settings import WalSettings


def renew(settings: WalSettings) -> WalSettings:
    """Return settings that fit the stack file as it is now, having stored them; or the old ones, and a warning."""
    try:
        renewed = _compile(settings)
        if renewed.spool == settings.spool:
            owner = os.stat(settings.spool)
            install(renewed, (owner.st_uid, owner.st_gid))
            return renewed
        reason = f"its spool is {renewed.spool} now"
    except HoldfastError as error:
        reason = error.message
    print(  # noqa: T201 - the server's log is where it is read
        f"warning: {settings.source.path} was edited, and its settings for WAL are not in effect: {reason}; "
        f"run 'holdfast wal setup {settings.service}'",
        file=sys.stderr,
    )
    return settings


def _compile(settings: WalSettings) -> WalSettings:
    path = Path(settings.source.path)
    facts = ClusterFacts(settings.system_identifier, settings.segment_size, settings.data_directory)
    return compile_settings(path, load_stack(path), settings.service, facts)
