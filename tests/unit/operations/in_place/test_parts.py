"""Whose tablespaces these are, and what of a lost cluster must make room."""

import pytest

from holdfast.errors import HoldfastError, UsageError
from holdfast.operations.in_place.parts import (
    outgoing_parts,
    require_own_homes,
    require_tablespaces_of,
    staged_parts,
)
from holdfast.services.postgres.live import look_at

VERSION = "PG_15_202209061"


def make_tablespace(data, oid, home):
    (home / VERSION).mkdir(parents=True)
    (data / "pg_tblspc").mkdir(parents=True, exist_ok=True)
    (data / "pg_tblspc" / str(oid)).symlink_to(home)


def test_a_tablespace_made_since_would_be_made_again(tmp_path):
    make_tablespace(tmp_path / "data", 1, tmp_path / "old")
    make_tablespace(tmp_path / "data", 2, tmp_path / "new")
    live = look_at(tmp_path / "data")
    require_tablespaces_of(live, {1: tmp_path / "old", 2: tmp_path / "new"})
    with pytest.raises(UsageError, match="new was made after the snapshot"):
        require_tablespaces_of(live, {1: tmp_path / "old"})


def test_one_that_recovery_made_is_found(tmp_path):
    make_tablespace(tmp_path / "staged", 1, tmp_path / "old" / "part")
    make_tablespace(tmp_path / "staged", 2, tmp_path / "new")
    with pytest.raises(HoldfastError, match=r"recovery made a tablespace at .*new"):
        staged_parts(tmp_path / "staged", {1: tmp_path / "old"}, "part", 15)
    parked = staged_parts(tmp_path / "staged", {1: tmp_path / "old", 2: tmp_path / "new"}, "part", 15)
    assert [outside.names for outside in parked.outsides] == [(VERSION,)]


def test_inside_the_data_directory_nothing_is_exchanged(tmp_path):
    make_tablespace(tmp_path / "data", 1, tmp_path / "data" / "inside")
    with pytest.raises(UsageError, match="lies inside"):
        require_own_homes(look_at(tmp_path / "data"), {1: tmp_path / "data" / "inside"})


def test_what_a_lost_cluster_left_makes_room(tmp_path):
    (tmp_path / "fast" / VERSION).mkdir(parents=True)
    (tmp_path / "fast" / "PG_14_202107181").mkdir()
    live = look_at(tmp_path / "data")
    parked = outgoing_parts(live, [tmp_path / "fast"], "0" * 32, 15)
    (outside,) = parked.outsides
    assert (outside.names, outside.is_linked) == ((VERSION,), False)
    assert outgoing_parts(live, [tmp_path / "empty"], "0" * 32, 15) is None
