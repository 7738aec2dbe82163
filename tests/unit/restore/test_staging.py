"""What stands in the way of a rename is found before anything is fetched."""

import pytest

from holdfast.errors import UsageError
from holdfast.restore import mounts as mounts_module
from holdfast.restore import staging


@pytest.fixture
def mounts(tmp_path, monkeypatch):
    """Let the system say that directories are mount points."""

    def say(*paths):
        written = (str(path).replace(" ", "\\040") for path in paths)
        lines = [f"36 35 98:0 /x {path} rw - ext4 /dev/x rw" for path in written]
        (tmp_path / "mountinfo").write_text("\n".join(lines) + "\n")
        monkeypatch.setattr(mounts_module, "_MOUNTS", tmp_path / "mountinfo")

    return say


def test_a_mount_point_cannot_be_renamed(tmp_path, mounts):
    mounts(tmp_path / "da ta")
    with pytest.raises(UsageError, match="is a mount point, which cannot"):
        staging.require_exchangeable(tmp_path / "da ta", None)


def test_a_mount_point_inside_would_stay_behind(tmp_path, mounts):
    mounts(tmp_path / "data" / "pg_wal")
    with pytest.raises(UsageError, match="inside"):
        staging.require_exchangeable(tmp_path / "data", None)


def test_a_mount_point_above_is_as_it_should_be(tmp_path, mounts):
    mounts(tmp_path, tmp_path / "database")
    staging.require_exchangeable(tmp_path / "data", None)


def test_the_parent_must_be_there(tmp_path, mounts):
    mounts(tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        staging.require_exchangeable(tmp_path / "no" / "data", None)
    with pytest.raises(UsageError, match="staging directory"):
        staging.require_exchangeable(tmp_path / "data", tmp_path / "no")
