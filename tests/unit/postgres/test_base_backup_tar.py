"""Headers of archives: as the standard library writes them in the form that PostgreSQL uses, and damaged ones."""

import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import VerificationError
from holdfast.postgres.base_backup_tar import MemberKind, padding_after, parse_tar_header

NAMES = st.binary(min_size=1, max_size=99).filter(lambda name: b"\0" not in name and b"/" not in name)
KINDS = {tarfile.REGTYPE: MemberKind.FILE, tarfile.DIRTYPE: MemberKind.DIRECTORY, tarfile.SYMTYPE: MemberKind.SYMLINK}


def header(**fields):
    """Return the block that the standard library makes of a member."""
    info = tarfile.TarInfo()
    for name, value in fields.items():
        setattr(info, name, value)
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")[:512].replace(b"ustar  \0", b"ustar\x0000")


def sealed(block):
    """Return a header with the right checksum."""
    blank = block[:148] + b" " * 8 + block[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]


@given(
    name=NAMES,
    kind=st.sampled_from(sorted(KINDS)),
    mode=st.integers(0, 0o7777),
    owner=st.integers(0, 2**21 - 1),
    size=st.integers(0, 2**63 - 1),
    mtime=st.integers(0, 2**33 - 1),
)
def test_what_is_written_is_read(name, kind, mode, owner, size, mtime):
    if name in {b".", b".."}:
        return
    fields = {"name": name.decode("utf-8", "surrogateescape"), "mode": mode, "uid": owner, "gid": owner}
    block = sealed(header(**fields, type=kind, size=size, mtime=mtime, uname="postgres", gname="postgres"))
    parsed = parse_tar_header(block)
    assert (parsed.path, parsed.kind, parsed.mode, parsed.uid, parsed.gid) == (name, KINDS[kind], mode, owner, owner)
    assert parsed.size == (size if kind == tarfile.REGTYPE else 0)
    assert (parsed.mtime_s, parsed.user, parsed.group) == (mtime, "postgres", "postgres")


def test_zeros_end_an_archive():
    assert parse_tar_header(bytes(512)) is None


@pytest.mark.parametrize(("name", "path"), [("./pg_wal/summaries/", b"pg_wal/summaries"), ("base/1/", b"base/1")])
def test_paths_are_relative_and_plain(name, path):
    assert parse_tar_header(sealed(header(name=name, type=tarfile.DIRTYPE))).path == path


@pytest.mark.parametrize("name", ["/etc/passwd", "../evil", "base/../../evil", ".", "./"])
def test_paths_that_lead_elsewhere_are_refused(name):
    with pytest.raises(VerificationError, match="outside its data directory"):
        parse_tar_header(sealed(header(name=name)))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.CHRTYPE, tarfile.LNKTYPE])
def test_what_postgresql_does_not_write_is_refused(kind):
    with pytest.raises(VerificationError, match="in a form that is not known"):
        parse_tar_header(sealed(header(name="x", type=kind)))


@given(at=st.integers(0, 511), bit=st.integers(0, 7))
def test_every_flipped_bit_is_noticed(at, bit):
    block = bytearray(sealed(header(name="base/1/1259", size=8192, uname="postgres", gname="postgres")))
    block[at] ^= 1 << bit
    if 148 <= at < 156:  # a space or zero beside the digits of the checksum means nothing
        return
    with pytest.raises(VerificationError):
        parse_tar_header(bytes(block))


@given(st.binary(min_size=512, max_size=512).filter(any))
def test_noise_is_refused(block):
    with pytest.raises(VerificationError):
        parse_tar_header(block)


FIELDS = {"mode": 100, "uid": 108, "gid": 116, "size": 124, "mtime": 136}


def with_number(name, digits):
    """Return a header one number of which is written otherwise."""
    at, width = FIELDS[name], 12 if name in {"size", "mtime"} else 8
    block = header(name="base/1/1259", size=8192)
    return sealed(block[:at] + digits.ljust(width, b"\0")[:width] + block[at + width :])


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("digits", [b"-17", b"+17", b"0o17", b"1_7", b"0x1f", b"8"])
def test_only_octal_digits_are_a_number(name, digits):
    with pytest.raises(VerificationError, match="header is damaged"):
        parse_tar_header(with_number(name, digits))


@pytest.mark.parametrize("name", ["uid", "gid", "size", "mtime"])
def test_a_number_beyond_what_it_can_be_is_refused(name):
    """In base 256 a field holds up to 95 bits, which no snapshot can."""
    with pytest.raises(VerificationError, match="header is damaged"):
        parse_tar_header(with_number(name, b"\xff" * 12))


@pytest.mark.parametrize("seconds", [-1, -(2**40), 2**62, 2**33])
def test_times_before_1970_come_without_their_sign(seconds):
    """``print_tar_number`` takes an unsigned number (src/port/tar.c)."""
    written = b"\x80" + (seconds % 2**64).to_bytes(11, "big")
    assert parse_tar_header(with_number("mtime", written)).mtime_s == seconds


@given(st.integers(0, 2**40))
def test_padding_fills_the_last_block(size):
    assert (size + padding_after(size)) % 512 == 0
    assert 0 <= padding_after(size) < 512
