"""New clusters by copying: initdb takes five times as long, and a suite wants hundreds of clusters.

initdb runs once in a process for each kind of cluster. A copy differs from it as what initdb makes anew would: by its
system identifier, which PostgreSQL keeps in the control file and in the first page of every WAL segment.
"""

from __future__ import annotations

import atexit
import secrets
import shutil
import struct
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.postgres.control import read_control_file
from holdfast.postgres.crc32c import crc32c
from holdfast.postgres.initdb import ClusterOptions, add_settings, create_cluster

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from holdfast.postgres.account import Account
    from holdfast.postgres.binaries import Binaries

_IDENTIFIER = struct.Struct("<Q")
_CRC = struct.Struct("<I")
# offsetof(ControlFileData, crc) in src/include/catalog/pg_control.h; 18 put a byte before the nonce
_CRC_OFFSET = {15: 288, 17: 288, 18: 292}
# xlp_sysid of XLogLongPageHeaderData in src/include/access/xlog_internal.h
_WAL_IDENTIFIER_OFFSET = 24


class Templates:
    """Clusters that were never started, in directories that ``make_directory`` makes and this process removes."""

    def __init__(self, account: Account, make_directory: Callable[[], Path]) -> None:
        self._account = account
        self._make_directory = make_directory
        self._made: dict[str, Path] = {}

    def make_cluster(self, binaries: Binaries, data_directory: Path, options: ClusterOptions) -> None:
        """Make a cluster as ``create_cluster`` does."""
        template = self._template(binaries, replace(options, settings={}))
        data_directory.mkdir(mode=0o700, exist_ok=True)
        self._account.take_over(data_directory)
        command = ["cp", "-r", "--no-target-directory", str(template), str(data_directory)]
        subprocess.run(command, check=True, cwd="/", **self._account.child_identity())
        _identify(data_directory, binaries.major)
        add_settings(data_directory / "postgresql.conf", options.settings)

    def _template(self, binaries: Binaries, options: ClusterOptions) -> Path:
        kind = f"{binaries} {options}"
        if kind not in self._made:
            directory = self._make_directory()
            atexit.register(shutil.rmtree, directory)
            create_cluster(binaries, directory / "data", options, self._account)
            self._made[kind] = directory / "data"
        return self._made[kind]


def _identify(data_directory: Path, major: int) -> None:
    """Give a cluster a new identifier, made as initdb makes it (``BootStrapXLOG`` in access/transam/xlog.c)."""
    now = clock.now()
    identifier = int(now.timestamp()) << 32 | now.microsecond << 12 | secrets.randbits(12)
    control = data_directory / "global" / "pg_control"
    crc_offset = _CRC_OFFSET[major]
    content = bytearray(control.read_bytes())
    _IDENTIFIER.pack_into(content, 0, identifier)
    _CRC.pack_into(content, crc_offset, crc32c(bytes(content[:crc_offset])))
    control.write_bytes(content)
    for segment in (data_directory / "pg_wal").glob("0" * 7 + "1*"):
        with segment.open("r+b") as file:
            file.seek(_WAL_IDENTIFIER_OFFSET)
            file.write(_IDENTIFIER.pack(identifier))
    if read_control_file(data_directory).system_identifier != identifier:
        raise RuntimeError(f"the control file in {data_directory} is laid out in another way")
