"""The control file, ``global/pg_control``: which cluster this is, in what state, and where recovery begins.

It is the one file that tells a cluster from another without a server, so it is parsed here, sealed as it is by a
CRC. The layout is ``ControlFileData`` in ``src/include/catalog/pg_control.h``: format 1300 in PostgreSQL 14 to 16;
1700 in 17, which put the WAL level into a hole of the checkpoint; 1800 in 18, which added a byte before the nonce.
"""

from __future__ import annotations

import os
import struct
from datetime import UTC, datetime
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from holdfast import clock
from holdfast.errors import ServerError, VerificationError, reason_of
from holdfast.postgres.crc32c import crc32c
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.segment import require_segment_size
from holdfast.postgres.timeline import Timeline

if TYPE_CHECKING:
    from pathlib import Path

CONTROL_PATH = b"global/pg_control"
"""Where it lies, relative to the data directory."""

CONTROL_FILE_SIZE_BYTES = 8192
"""``PG_CONTROL_FILE_SIZE``: the rest after the record is zeros."""

_MAJOR_BY_CATALOG_VERSION: Final = {202107181: 14, 202209061: 15, 202307071: 16, 202406281: 17, 202506291: 18}
"""``CATALOG_VERSION_NO`` in ``src/include/catalog/catversion.h`` of each release branch."""

_CRC_OFFSET: Final = {1300: 288, 1700: 288, 1800: 292}
_FLOAT_FORMAT = 1234567.0

# system_identifier, pg_control_version, catalog_version_no, state, ..., checkPoint; then of checkPointCopy
# ThisTimeLineID and time; then ..., wal_level.
_STATE = struct.Struct("<Q I I i 12x Q 8x I 52x q 60x i")
# From floatFormat: blcksz, relseg_size, xlog_blcksz, xlog_seg_size, ..., data_checksum_version.
_SHAPE = struct.Struct("<d I I I I 20x I")
_SHAPE_OFFSET = 208
_CHECKPOINT_OFFSET = 32
_NO_CHECKPOINT: Final = 0x7FFFFFFF_FF000028
"""A place that no WAL ever reaches, and that PostgreSQL takes for possible (``XRecOffIsValid``)."""
_READS = 10
_READ_PAUSE_S = 0.01


class ClusterState(IntEnum):
    """What the cluster was doing when the file was last written (``DBState``)."""

    STARTING_UP = 0
    SHUT_DOWN = 1
    SHUT_DOWN_IN_RECOVERY = 2
    SHUTTING_DOWN = 3
    IN_CRASH_RECOVERY = 4
    IN_ARCHIVE_RECOVERY = 5
    IN_PRODUCTION = 6


class WalLevel(Enum):
    """How much the WAL tells (``WalLevel`` in ``src/include/access/xlog.h``); values as the setting shows them."""

    MINIMAL = "minimal"
    REPLICA = "replica"
    LOGICAL = "logical"


_WAL_LEVELS: Final = {0: WalLevel.MINIMAL, 1: WalLevel.REPLICA, 2: WalLevel.LOGICAL}


class ControlFile(NamedTuple):
    """What Holdfast uses of one pg_control. Sizes are in bytes but for ``relation_segment_blocks``."""

    system_identifier: int
    control_version: int
    major: int
    state: ClusterState
    checkpoint: Lsn
    timeline: Timeline
    checkpoint_at: datetime
    wal_level: WalLevel
    block_size: int
    relation_segment_blocks: int
    wal_block_size: int
    wal_segment_size: int
    data_checksum_version: int

    @property
    def has_data_checksums(self) -> bool:
        """Whether pages carry checksums."""
        return self.data_checksum_version != 0

    @property
    def is_cleanly_shut_down(self) -> bool:
        """Whether the cluster can be copied as it lies, without WAL."""
        return self.state in {ClusterState.SHUT_DOWN, ClusterState.SHUT_DOWN_IN_RECOVERY}


def read_control_file(data_directory: Path) -> ControlFile:
    """Read and parse the control file of a data directory; errors as in ``read_control_content``."""
    return parse_control_file(read_control_content(data_directory))


def read_control_content(data_directory: Path) -> bytes:
    """Return the bytes of the control file, whole and with the right CRC.

    A running server may be writing it: a file whose CRC does not match is read again, up to ten times, as
    PostgreSQL's own programs do (``get_controlfile`` in ``src/common/controldata_utils.c``). Raises ServerError
    when it cannot be read or belongs to no known version, VerificationError when it is damaged.
    """
    path = data_directory / os.fsdecode(CONTROL_PATH)
    for _ in range(_READS - 1):
        content = _content(path)
        try:
            parse_control_file(content)
        except VerificationError:
            clock.sleep(_READ_PAUSE_S)
        else:
            return content
    content = _content(path)
    parse_control_file(content)
    return content


def parse_control_file(content: bytes) -> ControlFile:
    """Parse the bytes of a pg_control; ServerError for an unknown version, VerificationError for damage."""
    control_version = _require_known_version(content)
    _require_crc(content, _CRC_OFFSET[control_version])
    identifier, _, catalog, state, checkpoint, timeline, checkpoint_time, wal_level = _STATE.unpack_from(content)
    float_format, block_size, segment_blocks, wal_block, wal_segment, checksums = _SHAPE.unpack_from(
        content, _SHAPE_OFFSET
    )
    if float_format != _FLOAT_FORMAT:
        raise ServerError(
            "the cluster stores floating-point numbers in another form than this machine",
            hint="read it on the architecture that it runs on",
        )
    try:
        return ControlFile(
            system_identifier=identifier,
            control_version=control_version,
            major=_major(catalog),
            state=ClusterState(state),
            checkpoint=Lsn(checkpoint),
            timeline=Timeline(timeline),
            checkpoint_at=_instant(checkpoint_time),
            wal_level=_WAL_LEVELS[wal_level],
            block_size=_require_power_of_two(block_size, 2**15),
            relation_segment_blocks=_require_positive(segment_blocks),
            wal_block_size=_require_power_of_two(wal_block, 2**16),
            wal_segment_size=require_segment_size(wal_segment),
            data_checksum_version=checksums,
        )
    except (ValueError, KeyError, OSError, OverflowError) as error:
        raise VerificationError(f"the control file holds a value that cannot be: {error}") from error


def without_checkpoint(content: bytes) -> bytes:
    """Return the bytes of a pg_control that leaves it to ``backup_label`` alone to say where recovery begins.

    A copy of a running cluster whose label was removed would start as after a crash, from a checkpoint that is too
    late for its oldest pages, and be corrupt without a word. So it gets a checkpoint that is nowhere: with the label
    the server never looks at it, without it stops (``InitWalRecovery`` in ``access/transam/xlogrecovery.c``).
    """
    crc_offset = _CRC_OFFSET[parse_control_file(content).control_version]
    changed = bytearray(content)
    struct.pack_into("<Q", changed, _CHECKPOINT_OFFSET, _NO_CHECKPOINT)
    struct.pack_into("<I", changed, crc_offset, crc32c(bytes(changed[:crc_offset])))
    return bytes(changed)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ServerError(
            f"there is no control file in {path.parent.parent}",
            hint="name the data directory of a cluster ('show data_directory' tells it)",
        ) from error
    except OSError as error:
        raise ServerError(
            f"cannot read {path}: {reason_of(error)}", hint="run as the owner of the data directory or as root"
        ) from error


def _require_known_version(content: bytes) -> int:
    if len(content) < CONTROL_FILE_SIZE_BYTES:
        raise VerificationError(f"the control file has {len(content)} bytes, not {CONTROL_FILE_SIZE_BYTES}")
    version: int = struct.unpack_from("<I", content, 8)[0]
    if version in _CRC_OFFSET:
        return version
    if int.from_bytes(content[8:12], "big") in _CRC_OFFSET:
        raise ServerError(
            "the control file has the byte order of another architecture",
            hint="read it on a machine of the architecture that the cluster runs on",
        )
    raise ServerError(
        f"the control file has format {version}, which is of no version that is supported",
        hint="PostgreSQL 14 to 18 are supported; if this is one of them, the control file is damaged",
    )


def _require_crc(content: bytes, crc_offset: int) -> None:
    stored: int = struct.unpack_from("<I", content, crc_offset)[0]
    if crc32c(content[:crc_offset]) != stored:
        raise VerificationError(
            "the control file is damaged: its checksum does not match",
            hint="look at it with pg_controldata; if the server does not start either, restore a backup",
        )


def _major(catalog_version: int) -> int:
    try:
        return _MAJOR_BY_CATALOG_VERSION[catalog_version]
    except KeyError:
        raise ServerError(
            f"catalog version {catalog_version} is of no release that is supported",
            hint="PostgreSQL 14 to 18 are supported, releases only (no beta versions)",
        ) from None


def _require_power_of_two(size_bytes: int, largest: int) -> int:
    """Return a size of blocks (``BLCKSZ`` and ``XLOG_BLCKSZ`` in ``src/include/pg_config.h``), or raise ValueError."""
    if not 2**10 <= size_bytes <= largest or size_bytes & (size_bytes - 1):
        raise ValueError(f"blocks of {size_bytes} bytes")
    return size_bytes


def _require_positive(count: int) -> int:
    if not count:
        raise ValueError("relation segments without blocks")
    return count


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
