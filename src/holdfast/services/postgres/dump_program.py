"""``pg_dump`` of a version that suits: it writes what a database is made of, in the order in which it can be made."""

from __future__ import annotations

import re
import subprocess
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from holdfast.errors import ServerError
from holdfast.postgres.binaries import list_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from holdfast.services.postgres.parts import Table

_PROGRAM = "pg_dump"
_SECTION_TIMEOUT_S = 600
_PSQL_ONLY = re.compile(rb"^\\(?:un)?restrict [0-9A-Za-z]+\n", re.MULTILINE)
"""What pg_dump writes for psql since the minor releases of August 2025; a server does not know it."""


def find_dump_program(major: int, configured: Path | None) -> Path | None:
    """Return a pg_dump that can read a server of this major version: of the same or a newer one; None if there is none.

    pg_dump refuses servers newer than itself (manual, pg_dump, "Notes").
    """
    able = [b for b in list_binaries(configured) if b.major >= major and b.has_program(_PROGRAM)]
    return min(able, key=lambda binaries: binaries.major).program(_PROGRAM) if able else None


class DumpProgram:
    """Calls pg_dump on the throw-away server. ``tables`` empty: the whole database."""

    def __init__(self, program: Path, conninfo: str, tables: Sequence[Table]) -> None:
        self._command = [str(program), f"--dbname={conninfo}", "--no-password", "--no-sync"]
        self._command += [f"--table={table.quoted}" for table in tables]

    def write(self, output: IO[bytes]) -> None:
        """Write everything as SQL to a file."""
        with self._running([], output) as process:
            process.wait()

    def section(self, name: str) -> bytes:
        """Return the statements of ``pre-data`` or ``post-data``: what is made before the rows, and after them.

        Without large objects: newer versions make them here, empty, and fill them with the rows.
        """
        with self._running([f"--section={name}", "--no-blobs"], subprocess.PIPE) as process:
            text, _ = process.communicate(timeout=_SECTION_TIMEOUT_S)
        return _PSQL_ONLY.sub(b"", text)

    @contextmanager
    def _running(self, options: list[str], output: IO[bytes] | int) -> Iterator[subprocess.Popen[bytes]]:
        """Run the program during the block, and require that it succeeded; on the way out it is ended in any case."""
        import tempfile

        with tempfile.TemporaryFile() as complaints:
            process = subprocess.Popen(
                [*self._command, *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=complaints,
                cwd="/",
                env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
            )
            try:
                yield process
            except BaseException:
                process.kill()
                raise
            finally:
                process.wait()
            if process.returncode != 0:
                complaints.seek(0)
                lines = complaints.read().decode("utf-8", "replace").splitlines()
                raise ServerError("pg_dump failed", hint="the lines above are its own", details=tuple(lines[-10:]))
