"""The server's list of files: read whatever the pieces, every damage noticed, every difference named."""

import hashlib
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import VerificationError
from holdfast.postgres.base_backup_manifest import BackupManifest, require_same_files

FILES = st.dictionaries(
    st.binary(min_size=1, max_size=20), st.tuples(st.integers(0, 2**40), st.integers(0, 2**32 - 1)), max_size=9
)


def written(files):
    """Return the list as ``backup_manifest.c`` writes it."""
    lines = []
    for path, (size, crc32c) in files.items():
        try:
            name = f'"Path": {json.dumps(path.decode(), ensure_ascii=False)}'
        except UnicodeDecodeError:
            name = f'"Encoded-Path": "{path.hex()}"'
        checksum = crc32c.to_bytes(4, "little").hex()
        lines.append(
            f'{{ {name}, "Size": {size}, "Last-Modified": "2026-11-21 13:57:04 GMT", '
            f'"Checksum-Algorithm": "CRC32C", "Checksum": "{checksum}" }}'
        )
    body = (
        '{ "PostgreSQL-Backup-Manifest-Version": 2,\n"System-Identifier": 7710623464711563883,\n"Files": [\n'
        + ",\n".join(lines)
        + '\n],\n"WAL-Ranges": [\n{ "Timeline": 1, "Start-LSN": "0/3000028", "End-LSN": "0/3000120" }\n],\n'
    ).encode()
    return body + f'"Manifest-Checksum": "{hashlib.sha256(body).hexdigest()}"}}\n'.encode()


def read(content, step=32768):
    manifest = BackupManifest()
    for at in range(0, len(content), step):
        manifest.feed(content[at : at + step])
    manifest.finish()
    return manifest.files


@given(files=FILES, step=st.integers(1, 400))
def test_what_is_written_is_read(files, step):
    assert read(written(files), step) == files


@given(files=FILES, at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_damage_is_noticed(files, at, bit):
    content = bytearray(written(files))
    content[int(at * len(content))] ^= 1 << bit
    with suppress(VerificationError):
        assert read(bytes(content)) == files


@given(files=FILES)
def test_a_list_that_is_cut_off_is_noticed(files):
    content = written(files)
    with pytest.raises(VerificationError, match="damaged on its way"):
        read(content[: content.index(b'"Manifest-Checksum"')])


def test_differences_are_named():
    listed = {b"base/1/1": (8192, 7), b"base/1/2": (0, 0)}
    require_same_files(listed, dict(listed))
    for received, words in [
        ({b"base/1/1": (8192, 7)}, "did not come"),
        ({**listed, b"base/1/1": (8191, 7)}, "another size"),
        ({**listed, b"base/1/1": (8192, 8)}, "another checksum"),
        ({**listed, b"base/1/3": (1, 1)}, "not in the server's list"),
    ]:
        with pytest.raises(VerificationError, match=words) as caught:
            require_same_files(listed, received)
        assert caught.value.hint
