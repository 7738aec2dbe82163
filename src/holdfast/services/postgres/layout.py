"""A snapshot of a cluster as a data directory on this machine (a Layout of a restore).

Tablespaces go back to where they were, or to where the operator says. The result starts with plain pg_ctl and recovers
from the WAL that it carries; it does not archive, and follows nobody: both would harm the cluster it came from.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from holdfast.errors import UsageError
from holdfast.postgres.control import CONTROL_PATH, without_checkpoint
from holdfast.repository.manifest import EntryKind
from holdfast.repository.names import ROOT, is_text
from holdfast.services.postgres.rules import CONFIGURATION_FILES, is_in_servers_own

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from holdfast.repository.manifest import Entry
    from holdfast.services.postgres.facts import PostgresFacts

_IN_TABLESPACE = re.compile(rb"pg_tblspc/([0-9]+)(?:/(.*))?", re.DOTALL)
_FOLLOWS_OTHERS = {b"standby.signal", b"recovery.signal"}
_CONFIGURATION = "postgresql.conf"
_NAMES_DIRECTORY = re.compile(rb"^[ \t]*data_directory\b", re.IGNORECASE | re.MULTILINE)
AUTO_CONF = "postgresql.auto.conf"
_TABLESPACE_MAP = "tablespace_map"
_VERSION = "PG_VERSION"
RESTORED_SETTINGS = """
# Added by holdfast when this directory was restored: it must not write into the archive of the cluster it came from,
# nor take what is sent to that one's subscriptions. Once this is the cluster to keep, remove these lines (or ALTER
# SYSTEM RESET archive_mode and max_logical_replication_workers) and restart.
archive_mode = 'off'
max_logical_replication_workers = '0'
"""


MADE_BY_US = "# Made by holdfast when this directory was restored"
"""How a configuration file begins that the snapshot lacked, because the cluster kept its own elsewhere."""

_MINIMAL_CONFIGURATION = {
    _CONFIGURATION: f"""\
{MADE_BY_US}: the cluster that it came from kept its configuration elsewhere.
# Copies of those files lie in holdfast-configuration; put the settings that you want here. All others are PostgreSQL's
# defaults, but for those below, with which recovery is sure to succeed; shared_preload_libraries may be needed, too.
""",
    "pg_hba.conf": f"""\
{MADE_BY_US}: only accounts of this machine may connect, under their own names.
local all all peer
""",
    "pg_ident.conf": f"{MADE_BY_US}.\n",
    AUTO_CONF: "",
}

_WRITTEN_TO = CONFIGURATION_FILES | {os.fsencode(_TABLESPACE_MAP)}
_IN_PLACE_SETTINGS = """\
# No recovery ends without this while a tablespace lies in the data directory (CheckTablespaceDirectory, xlogrecovery.c)
allow_in_place_tablespaces = 'on'
"""


class PostgresLayout:
    """Maps the entries of one snapshot to paths.

    ``tablespaces``: by name, where else they go; ``part``: a directory within each of theirs that takes the content.
    """

    def __init__(self, facts: PostgresFacts, target: Path, tablespaces: Mapping[str, Path], part: str = "") -> None:
        self.target = target
        self._facts = facts
        homes = _tablespace_places(facts, tablespaces)
        self._places = {oid: home / part for oid, home in homes.items()}
        self._known = {tablespace.oid for tablespace in facts.tablespaces}

    @property
    def roots(self) -> tuple[Path, ...]:
        """The data directory and each tablespace outside it."""
        return (self.target, *self._places.values())

    @property
    def last(self) -> bytes:
        """The control file: without it no server starts."""
        return CONTROL_PATH

    @property
    def notes(self) -> tuple[str, ...]:
        """What comes back otherwise than it was."""
        lines = ["archiving and subscriptions are switched off in the restored cluster (see postgresql.auto.conf)"]
        if self._facts.is_standby:
            lines.append("the snapshot was taken from a standby; the restored cluster starts as a primary")
        for name, place in self._named_places().items():
            lines.append(f"tablespace {name} goes to {place}")
        return tuple(lines)

    def destination(self, entry: Entry) -> Path | None:
        """Return where an entry goes; None for signal files, and for links that this cluster must not follow.

        These are what is no tablespace of it, and what is written to, here or by the server: that is somebody else's.
        """
        if entry.path == ROOT:
            return self.target
        if entry.path in _FOLLOWS_OTHERS:
            return None
        if entry.kind is EntryKind.SYMLINK and (entry.path in _WRITTEN_TO or is_in_servers_own(entry.path)):
            return None
        match = _IN_TABLESPACE.fullmatch(entry.path)
        if match and int(match[1]) not in self._known:
            return None
        if match and match[2] is not None and int(match[1]) in self._places:
            return self._places[int(match[1])] / os.fsdecode(match[2])
        return self.target / os.fsdecode(entry.path)

    def is_filled(self, entry: Entry) -> bool:  # noqa: ARG002 - a part of a cluster looks at it
        """Return whether a file gets its content: all do, where a whole cluster is restored."""
        return True

    def link(self, entry: Entry) -> bytes:
        """Return where a tablespace's link points to here; other links stay as they were."""
        match = _IN_TABLESPACE.fullmatch(entry.path)
        if match and match[2] is None and int(match[1]) in self._places:
            return os.fsencode(self._places[int(match[1])])
        return entry.link

    def finish(self, last: Path) -> None:
        """Switch archiving and subscriptions off, and let ``tablespace_map`` say where the tablespaces are now.

        A cluster that keeps its configuration elsewhere (Debian: in /etc) gets a minimal one, to start with. The
        control file, at ``last`` still, is changed so that nothing starts without ``backup_label``.
        """
        control = without_checkpoint(last.read_bytes())
        with last.open("r+b") as opened:
            opened.write(control)
        self._forget_data_directory()
        for name, content in _MINIMAL_CONFIGURATION.items():
            if not (self.target / name).exists():
                self._add_file(name, content + (self._recovery_settings() if name == _CONFIGURATION else ""))
        with (self.target / AUTO_CONF).open("a", encoding="utf-8") as file:
            file.write(RESTORED_SETTINGS)
            if any(tablespace.is_in_place for tablespace in self._facts.tablespaces):
                file.write(_IN_PLACE_SETTINGS)
        path = self.target / _TABLESPACE_MAP
        if path.exists():
            lines = (b"%d %s\n" % (oid, escaped(os.fsencode(place))) for oid, place in sorted(self._places.items()))
            path.write_bytes(b"".join(lines))

    def _forget_data_directory(self) -> None:
        """Take the setting out that would win over ``pg_ctl -D``, and start the cluster that this one came from."""
        path = self.target / _CONFIGURATION
        if path.is_file() and _NAMES_DIRECTORY.search(content := path.read_bytes()):
            path.write_bytes(_NAMES_DIRECTORY.sub(rb"# not here, where it was restored by holdfast: \g<0>", content))

    def _recovery_settings(self) -> str:
        """Return the lines of the settings that recovery needs as they were; libraries only as a remark."""
        settings = dict(self._facts.recovery_settings)
        libraries = settings.pop("shared_preload_libraries", "")
        lines = [f"{name} = '{value}'" for name, value in settings.items()]
        return "\n".join([*lines, f"# shared_preload_libraries = '{libraries}'", ""])

    def _add_file(self, name: str, content: str) -> None:
        """Write a file that the snapshot lacks, with the owner and the mode of one that it has."""
        path, model = self.target / name, (self.target / _VERSION).stat()
        path.write_text(content, encoding="utf-8")
        path.chmod(stat.S_IMODE(model.st_mode))
        if os.geteuid() == 0:
            os.chown(path, model.st_uid, model.st_gid)

    def _named_places(self) -> dict[str, Path]:
        return {t.name: self._places[t.oid] for t in self._facts.tablespaces if t.oid in self._places}


def _tablespace_places(facts: PostgresFacts, wanted: Mapping[str, Path]) -> dict[int, Path]:
    from pathlib import Path

    outside = {tablespace.name: tablespace for tablespace in facts.tablespaces if not tablespace.is_in_place}
    for name, place in wanted.items():
        if name not in outside:
            known = ", ".join(sorted(outside)) or "none"
            raise UsageError(f"the snapshot has no tablespace {name!r} to place", hint=f"it has: {known}")
        if not is_text(str(place)):
            raise UsageError(f"tablespace {name}: {place} is no text in UTF-8", hint="name a directory that is")
        if not place.is_absolute():
            raise UsageError(f"tablespace {name}: {place} is not an absolute path", hint="give the full path")
    return {tablespace.oid: wanted.get(name, Path(tablespace.location)) for name, tablespace in outside.items()}


def escaped(path: bytes) -> bytes:
    """Escape as ``tablespace_map`` wants it (``read_tablespace_map`` in xlog.c): backslashes and line ends."""
    return re.sub(rb"([\\\n\r])", rb"\\\1", path)
