"""Where a snapshot's entries go on this machine, and what is added to make the result whole and harmless."""

from pathlib import Path

import pytest
from tests.unit.postgres.test_control import control_bytes

from holdfast.errors import UsageError
from holdfast.postgres.control import parse_control_file
from holdfast.repository.manifest import Entry, EntryKind
from holdfast.services.postgres.facts import PostgresFacts, TablespaceFact
from holdfast.services.postgres.layout import PostgresLayout


def facts(*tablespaces, **changes):
    known = {
        "version": "15.1", "major": 15, "system_identifier": "1", "timeline": 1, "start_lsn": "0/1", "stop_lsn": "0/2",
        "is_standby": False, "block_size": 8192, "wal_segment_size": 1 << 24, "has_data_checksums": True,
        "data_directory": "/old", "wal_level": "replica", "encoding": "UTF8", "tablespaces": tablespaces,
    }  # fmt: skip
    return PostgresFacts(**{**known, **changes})


FAR = TablespaceFact(16400, "far", "/far", is_in_place=False)
ODD = TablespaceFact(16401, "ödd", "/odd place", is_in_place=False)
INSIDE = TablespaceFact(16402, "inside", "pg_tblspc/16402", is_in_place=True)
TARGET = Path("/new")


def entry(path, kind=EntryKind.FILE, link=b""):
    return Entry(path, kind, 0o600, 0, 0, "", "", 0, 0, 0, 0, link)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (b".", "/new"),
        (b"PG_VERSION", "/new/PG_VERSION"),
        (b"base/5/1", "/new/base/5/1"),
        (b"pg_tblspc", "/new/pg_tblspc"),
        (b"pg_tblspc/16400", "/new/pg_tblspc/16400"),
        (b"pg_tblspc/16400/PG_15_1/5/1", "/far/PG_15_1/5/1"),
        (b"pg_tblspc/16401/PG_15_1/5/1", "/elsewhere/PG_15_1/5/1"),
        (b"pg_tblspc/16402", "/new/pg_tblspc/16402"),
        (b"pg_tblspc/16402/PG_15_1/5/1", "/new/pg_tblspc/16402/PG_15_1/5/1"),
        (b"pg_tblspc/99999", None),
        (b"pg_tblspc/99999/PG_15_1/5/1", None),
        (b"standby.signal", None),
        (b"recovery.signal", None),
        (b"sub/standby.signal", "/new/sub/standby.signal"),
        (b"notiz \xff", "/new/notiz \udcff"),
    ],
)
def test_destinations(path, place):
    layout = PostgresLayout(facts(FAR, ODD, INSIDE), TARGET, {"ödd": Path("/elsewhere")})
    assert layout.destination(entry(path)) == (Path(place) if place else None)


@pytest.mark.parametrize(
    ("path", "is_made"),
    [
        *((b"log", True), (b"aside", True), (b"pg_tblspc/16400", True)),
        *((b"postgresql.conf", False), (b"postgresql.auto.conf", False), (b"pg_hba.conf", False)),
        *((b"tablespace_map", False), (b"base/5", False), (b"pg_tblspc/16400/PG_15_1/5", False)),
        (b"global/pg_control.holdfast-unfinished", False),
    ],
)
def test_no_link_is_made_where_something_will_be_written(path, is_made):
    """It would be written to wherever the link leads: to the cluster in service, or as root to anything."""
    layout = PostgresLayout(facts(FAR), TARGET, {})
    assert (layout.destination(entry(path, EntryKind.SYMLINK, b"/etc/passwd")) is not None) == is_made


def test_links_of_tablespaces_lead_to_where_they_are_now():
    layout = PostgresLayout(facts(FAR, ODD, INSIDE), TARGET, {"ödd": Path("/elsewhere")})
    assert layout.roots == (TARGET, Path("/far"), Path("/elsewhere"))
    assert layout.link(entry(b"pg_tblspc/16401", EntryKind.SYMLINK, b"/odd place")) == b"/elsewhere"
    assert layout.link(entry(b"pg_tblspc/16400", EntryKind.SYMLINK, b"/far")) == b"/far"
    assert layout.link(entry(b"log", EntryKind.SYMLINK, b"/var/log")) == b"/var/log"
    assert "tablespace ödd goes to /elsewhere" in layout.notes


@pytest.mark.parametrize(("name", "place"), [("inside", "/x"), ("none", "/x"), ("far", "x"), ("far", "/\udcff")])
def test_places_that_cannot_be(name, place):
    with pytest.raises(UsageError) as caught:
        PostgresLayout(facts(FAR, INSIDE), TARGET, {name: Path(place)})
    assert caught.value.hint


def make_target(tmp_path, *names):
    for name in ("PG_VERSION", "postgresql.conf", "pg_hba.conf", "postgresql.auto.conf", *names):
        (tmp_path / name).write_text("# as it was")
        (tmp_path / name).chmod(0o640)


def make_control(tmp_path):
    path = tmp_path / "control"
    path.write_bytes(control_bytes())
    path.chmod(0o640)
    return path


def test_fault_16_finish_leaves_a_control_file_that_needs_the_label(tmp_path):
    make_target(tmp_path)
    control = make_control(tmp_path)
    PostgresLayout(facts(), tmp_path, {}).finish(control)
    before, after = parse_control_file(control_bytes()), parse_control_file(control.read_bytes())
    assert after == before._replace(checkpoint=after.checkpoint)
    assert str(after.checkpoint) == "7FFFFFFF/FF000028"


def test_finish_switches_archiving_off_and_rewrites_the_map(tmp_path):
    make_target(tmp_path, "tablespace_map")
    place = "/else\nwhere ÿ\\"
    PostgresLayout(facts(FAR, ODD, INSIDE), tmp_path, {"ödd": Path(place)}).finish(make_control(tmp_path))
    written = (tmp_path / "postgresql.auto.conf").read_text()
    assert written.startswith("# as it was\n")
    assert "\narchive_mode = 'off'\n" in written
    assert "\nallow_in_place_tablespaces = 'on'\n" in written
    assert (tmp_path / "tablespace_map").read_bytes() == b"16400 /far\n16401 /else\\\nwhere \xc3\xbf\\\\\n"
    assert (tmp_path / "postgresql.conf").read_text() == (tmp_path / "pg_hba.conf").read_text() == "# as it was"


def test_finish_adds_what_a_start_needs_and_the_snapshot_lacks(tmp_path):
    make_target(tmp_path)
    for name in ("postgresql.conf", "pg_hba.conf", "postgresql.auto.conf"):
        (tmp_path / name).unlink()
    PostgresLayout(facts(), tmp_path, {}).finish(make_control(tmp_path))
    assert "local all all peer" in (tmp_path / "pg_hba.conf").read_text()
    assert "defaults" in (tmp_path / "postgresql.conf").read_text()
    assert "allow_in_place" not in (tmp_path / "postgresql.auto.conf").read_text()
    assert not (tmp_path / "tablespace_map").exists()
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}


def test_notes_tell_of_a_standby():
    assert any("standby" in note for note in PostgresLayout(facts(is_standby=True), TARGET, {}).notes)
