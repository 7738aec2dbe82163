"""The parser of pg_control: what it reads from bytes laid out by hand, and what it refuses."""

import contextlib
import struct
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import HoldfastError, ServerError, VerificationError
from holdfast.postgres.control import ClusterState, WalLevel, parse_control_file, read_control_file
from holdfast.postgres.crc32c import crc32c

CATALOGS = [(1300, 202107181, 14), (1300, 202209061, 15), (1300, 202307071, 16), (1700, 202406281, 17)]
CATALOGS += [(1800, 202506291, 18)]


def control_bytes(version=1300, catalog=202209061, **values):
    """Lay a control file out by the offsets of the C structure on a 64-bit machine, sealed by its CRC."""
    fields = {
        "system": ("Q", 0, 7710532094481306528),
        "version": ("I", 8, version),
        "catalog": ("I", 12, catalog),
        "state": ("i", 16, 6),
        "checkpoint": ("Q", 32, 0x2000060),
        "timeline": ("I", 48, 3),
        "checkpoint_time": ("q", 104, 1795248149),
        "wal_level": ("i", 172, 2),
        "float": ("d", 208, 1234567.0),
        "block": ("I", 216, 8192),
        "relseg": ("I", 220, 131072),
        "wal_block": ("I", 224, 8192),
        "wal_segment": ("I", 228, 16777216),
        "checksums": ("I", 252, 1),
    }
    content = bytearray(8192)
    for name, (kind, offset, value) in fields.items():
        struct.pack_into("<" + kind, content, offset, values.get(name, value))
    crc_offset = 292 if version == 1800 else 288
    struct.pack_into("<I", content, crc_offset, crc32c(bytes(content[:crc_offset])))
    return bytes(content)


def test_every_field_is_read_from_its_place():
    control = parse_control_file(control_bytes())
    assert control.system_identifier == 7710532094481306528
    assert control.state is ClusterState.IN_PRODUCTION
    assert control.checkpoint_at == datetime.fromtimestamp(1795248149, UTC)
    assert (control.checkpoint, control.timeline) == (0x2000060, 3)
    assert control.wal_level is WalLevel.LOGICAL
    assert (control.block_size, control.wal_block_size) == (8192, 8192)
    assert (control.relation_segment_blocks, control.wal_segment_size) == (131072, 16777216)
    assert control.data_checksum_version == 1
    assert control.has_data_checksums
    assert not control.is_cleanly_shut_down


@pytest.mark.parametrize(("version", "catalog", "major"), CATALOGS)
def test_each_version_is_known_by_its_catalog(version, catalog, major):
    assert parse_control_file(control_bytes(version, catalog)).major == major


@pytest.mark.parametrize(("version", "catalog", "major"), CATALOGS)
@given(position=st.integers(0, 287), bit=st.integers(0, 7))
def test_any_flipped_bit_is_refused(version, catalog, major, position, bit):
    content = bytearray(control_bytes(version, catalog))
    content[position] ^= 1 << bit
    with pytest.raises((VerificationError, ServerError)):
        parse_control_file(bytes(content))


@given(st.binary(max_size=300), st.sampled_from([1300, 1700, 1800]))
def test_noise_is_refused_by_our_own_errors(noise, version):
    content = bytearray(noise.ljust(8192, b"\0"))
    struct.pack_into("<I", content, 8, version)
    with pytest.raises(HoldfastError):
        parse_control_file(bytes(content))


@given(
    st.dictionaries(
        st.sampled_from(["state", "timeline", "wal_level", "checkpoint_time"]),
        st.integers(0, 2**31 - 1),
    )
)
def test_impossible_values_under_a_valid_seal_are_refused_by_our_own_errors(values):
    with contextlib.suppress(VerificationError):
        parse_control_file(control_bytes(**values))


@pytest.mark.parametrize("name", ["block", "wal_block", "wal_segment"])
@pytest.mark.parametrize("size", [0, 1, 512, 8191, 8193, 2**31])
def test_blocks_and_segments_of_no_size_are_refused(name, size):
    """Who divides by them would end with an internal error, or take it for the shape of a cluster."""
    with pytest.raises(VerificationError, match=r"blocks of \d+ bytes|segment size"):
        parse_control_file(control_bytes(**{name: size}))


def test_relation_segments_without_blocks_are_refused():
    with pytest.raises(VerificationError, match="without blocks"):
        parse_control_file(control_bytes(relseg=0))


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", VerificationError, "0 bytes"),
        (control_bytes()[:8191], VerificationError, "8191 bytes"),
        (bytes(8192), ServerError, "format 0"),
        (control_bytes(version=1201), ServerError, "format 1201"),
        (control_bytes(catalog=202007201), ServerError, "catalog version 202007201"),
        (control_bytes(version=0x14050000), ServerError, "byte order"),
        (control_bytes(float=1.0), ServerError, "floating-point"),
        (control_bytes(state=7), VerificationError, "cannot be"),
        (control_bytes(timeline=0), VerificationError, "cannot be"),
        (control_bytes(wal_level=-1), VerificationError, "cannot be"),
        (control_bytes(checkpoint_time=2**62), VerificationError, "cannot be"),
    ],
)
def test_refusals_say_what_is_wrong(content, error, message):
    with pytest.raises(error, match=message):
        parse_control_file(content)


def test_missing_control_file_gets_a_hint(tmp_path):
    with pytest.raises(ServerError, match="no control file") as caught:
        read_control_file(tmp_path)
    assert "data_directory" in caught.value.hint


def test_file_that_is_being_written_is_read_again(tmp_path, monkeypatch):
    (tmp_path / "global").mkdir()
    path = tmp_path / "global" / "pg_control"
    whole = control_bytes()
    path.write_bytes(whole[:40] + b"torn" + whole[44:])
    monkeypatch.setattr("holdfast.clock.sleep", lambda seconds: path.write_bytes(whole))
    assert read_control_file(tmp_path).major == 15


def test_damage_that_stays_is_reported(tmp_path, monkeypatch):
    (tmp_path / "global").mkdir()
    (tmp_path / "global" / "pg_control").write_bytes(control_bytes()[:40] + b"torn" + control_bytes()[44:])
    monkeypatch.setattr("holdfast.clock.sleep", lambda seconds: None)
    with pytest.raises(VerificationError, match="damaged"):
        read_control_file(tmp_path)
