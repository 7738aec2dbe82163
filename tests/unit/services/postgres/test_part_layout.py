"""Which files of a snapshot stay empty when one database is wanted, and which missed pages matter."""

from pathlib import Path

import pytest

from holdfast.repository.manifest import Entry, EntryKind
from holdfast.services.postgres.facts import PostgresFacts, TablespaceFact
from holdfast.services.postgres.part_layout import PartLayout

FACTS = PostgresFacts(
    version="15.1",
    major=15,
    system_identifier="1",
    timeline=1,
    start_lsn="0/1",
    stop_lsn="0/2",
    is_standby=False,
    block_size=8192,
    wal_segment_size=16 << 20,
    has_data_checksums=True,
    data_directory="/data",
    wal_level="replica",
    encoding="UTF8",
    tablespaces=(TablespaceFact(20000, "far", "/far", is_in_place=False),),
    databases=("postgres", "shop", "other"),
    database_numbers={"postgres": 5, "shop": 16384, "other": 16385},
)
TARGET = Path("/tmp/part/data")


def entry(path: str) -> Entry:
    return Entry(path.encode(), EntryKind.FILE, 0o600, 0, 0, "", "", 0, 0, 0, 8192)


@pytest.mark.parametrize(
    ("path", "is_filled"),
    [
        ("base/16384/16400", True),
        ("base/16384/16400_vm", True),
        ("base/16385/16400", False),
        ("base/16385/16400_fsm.1", False),
        ("base/16385/pg_filenode.map", True),
        ("base/16385/PG_VERSION", True),
        ("base/1/1259", True),
        ("base/5/1259", True),
        ("global/1262", True),
        ("pg_xact/0000", True),
        ("pg_tblspc/20000/PG_15_202209061/16384/16500", True),
        ("pg_tblspc/20000/PG_15_202209061/16385/16500", False),
    ],
)
def test_relations_of_other_databases_stay_empty(path, is_filled):
    assert PartLayout(FACTS, TARGET, "shop").is_filled(entry(path)) == is_filled


@pytest.mark.parametrize("database", [None, "made later"])
def test_without_a_known_number_all_is_whole(database):
    assert PartLayout(FACTS, TARGET, database).is_filled(entry("base/16385/16400"))


def test_tablespaces_lie_beside_the_data():
    layout = PartLayout(FACTS, TARGET, "shop")
    assert layout.roots == (TARGET, Path("/tmp/part/data-tablespaces/20000"))


def test_missed_pages_matter_only_where_something_is_whole():
    log = """
WARNING:  page 25 of relation base/16385/16419 is uninitialized
WARNING:  page 25 of relation pg_tblspc/20000/PG_15_202209061/16385/16419_vm does not exist
"""
    layout = PartLayout(FACTS, TARGET, "shop")
    assert layout.missed_pages(log) == []
    for path in ("base/16384/16400", "global/1262", "base/1/1259_vm"):
        assert layout.missed_pages(f"{log}WARNING:  page 0 of relation {path} does not exist\n") == [path]
        assert layout.missed_pages(f'{log}WARNING:  page 0 of relation "{path}" is uninitialized\n') == [path]
    assert PartLayout(FACTS, TARGET, None).missed_pages(log) != []
