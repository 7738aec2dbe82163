"""CRC-32C against published values (RFC 3720, appendix B.4)."""

import crc32c as native
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.postgres.crc32c import crc32c, crc32c_joined


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
    ],
)
def test_published_values(data, value):
    assert crc32c(data) == value
    assert native.crc32c(data) == value


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_joining(first, second):
    assert crc32c_joined(crc32c(first), native.crc32c(second), len(second)) == crc32c(first + second)


def test_joining_what_is_longer_than_memory():
    """A file of 1 GiB of zeros, doubled up from a page."""
    checksum, length = native.crc32c(bytes(8192)), 8192
    while length < 1 << 30:
        checksum, length = crc32c_joined(checksum, checksum, length), 2 * length
    in_parts = 0
    for _ in range(1 << 10):
        in_parts = native.crc32c(bytes(1 << 20), in_parts)
    assert checksum == in_parts
