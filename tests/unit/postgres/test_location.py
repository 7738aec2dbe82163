"""Recognising data directories, and saying what else a path is."""

import pytest

from holdfast.errors import ServerError
from holdfast.postgres.location import verify_is_data_directory


def make(path, version="15\n"):
    (path / "global").mkdir()
    (path / "global" / "pg_control").touch()
    (path / "PG_VERSION").write_bytes(version.encode())
    return path


@pytest.mark.parametrize("major", range(14, 19))
def test_supported_versions_are_recognised(tmp_path, major):
    assert verify_is_data_directory(make(tmp_path, f"{major}\n")) == major


@pytest.mark.parametrize("version", ["13\n", "19\n", "9.6\n", "", "fifteen\n", "\xff\n"])
def test_other_versions_are_refused(tmp_path, version):
    with pytest.raises(ServerError, match=r"not supported|does not hold a version") as caught:
        verify_is_data_directory(make(tmp_path, version))
    assert caught.value.hint


def test_what_is_no_data_directory_is_named(tmp_path):
    (tmp_path / "file").touch()
    for path, message in [
        (tmp_path, "has no PG_VERSION"),
        (tmp_path / "absent", "does not exist"),
        (tmp_path / "file", "is not a directory"),
    ]:
        with pytest.raises(ServerError, match=message) as caught:
            verify_is_data_directory(path)
        assert "data_directory" in caught.value.hint


def test_restore_that_did_not_finish_is_recognised(tmp_path):
    (make(tmp_path) / "global" / "pg_control").unlink()
    with pytest.raises(ServerError, match="no control file") as caught:
        verify_is_data_directory(tmp_path)
    assert "--resume" in caught.value.hint
