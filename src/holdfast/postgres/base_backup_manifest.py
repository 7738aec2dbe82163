"""The server's own list of what it sent (backup_manifest): read line by line, as it comes, and then compared.

One line for each file, a checksum over the whole at the end (manual, chapter 76 "Backup Manifest Format"; written by
``src/backend/backup/backup_manifest.c``). The list of a large cluster is long, so its text is not kept.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from holdfast.errors import VerificationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.storage.base import Buffer

_RUN_AGAIN = "run the backup again; if it stays so, the network or the memory on the way is at fault"
_LAST_LINE = b'"Manifest-Checksum"'
_FILE_LINE = (b'{ "Path"', b'{ "Encoded-Path"')


class ListedFile(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """One line of the list: the path as text, or in hexadecimal digits where it is no UTF-8."""

    size: int
    path: str | None = None
    encoded_path: str | None = msgspec.field(default=None, name="Encoded-Path")
    checksum: str = ""
    checksum_algorithm: str | None = msgspec.field(default=None, name="Checksum-Algorithm")

    @property
    def path_bytes(self) -> bytes:
        """The path, relative to the data directory."""
        return bytes.fromhex(self.encoded_path or "") if self.path is None else self.path.encode()

    @property
    def crc32c(self) -> int:
        """The checksum as a number: it is written as its bytes lie in a little-endian machine's memory."""
        return int.from_bytes(bytes.fromhex(self.checksum), "little")


class BackupManifest:
    """Takes the list in, piece by piece; ``files`` holds (size in bytes, CRC-32C) by path."""

    def __init__(self) -> None:
        self.files: dict[bytes, tuple[int, int]] = {}
        self._decoder = msgspec.json.Decoder(ListedFile)
        self._digest = hashlib.sha256()
        self._rest = b""
        self._last = b""

    def feed(self, data: Buffer) -> None:
        """Take the next piece in."""
        *lines, self._rest = (self._rest + bytes(data)).split(b"\n")
        for line in lines:
            self._take(line + b"\n")

    def finish(self) -> None:
        """Raise VerificationError unless the list came whole, with the checksum that it says of itself."""
        self._take(self._rest)
        said = self._last.partition(b":")[2].strip(b' "}\n')
        if said.decode("ascii", "replace") != self._digest.hexdigest():
            raise VerificationError("the server's list of files was damaged on its way", hint=_RUN_AGAIN)

    def _take(self, line: bytes) -> None:
        if line.startswith(_LAST_LINE):
            self._last = line
            return
        self._digest.update(line)
        if line.startswith(_FILE_LINE):
            try:
                listed = self._decoder.decode(line.rstrip(b",\n"))
                self.files[listed.path_bytes] = (listed.size, listed.crc32c)
            except (msgspec.MsgspecError, ValueError) as error:
                raise VerificationError(f"the server's list of files cannot be read: {error}") from error


def require_same_files(listed: Mapping[bytes, tuple[int, int]], received: Mapping[bytes, tuple[int, int]]) -> None:
    """Raise VerificationError when a file did not come, came otherwise than it was sent, or is not in the list."""
    for path, content in listed.items():
        found = received.get(path)
        if found is None:
            raise VerificationError(f"the server lists {path!r}, which did not come", hint=_RUN_AGAIN)
        if found != content:
            what = "size" if found[0] != content[0] else "checksum"
            raise VerificationError(f"{path!r} came with another {what} than the server lists", hint=_RUN_AGAIN)
    if len(listed) != len(received):
        path = next(iter(received.keys() - listed.keys()))
        raise VerificationError(f"{path!r} came, and is not in the server's list", hint=_RUN_AGAIN)
