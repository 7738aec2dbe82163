"""What a server says by the way is a loss only where it names something of the cluster that did not come."""

import pytest

from holdfast.postgres.facts import Tablespace
from holdfast.services.postgres.replication_notices import left_out_on_the_way

THERE = {b"base/5/1259", b"pg_tblspc/16385/PG_15_1/5/2", b"base/5"}
FAR = (Tablespace(16385, "far", "/mnt/far away", is_in_place=False),)


@pytest.mark.parametrize(
    ("notice", "path"),
    [
        ('skipping special file "./base/16384"', "base/16384"),
        ("überspringe besondere Datei »./base/16384«", "base/16384"),
        ("fichier spécial « ./pg_xact » ignoré", "pg_xact"),
        ('skipping special file "/mnt/far away/PG_15_1/5/7"', "pg_tblspc/16385/PG_15_1/5/7"),
        ('skipping special file "./pg_tblspc/16385/PG_15_1/5"', "pg_tblspc/16385/PG_15_1/5"),
    ],
)
def test_what_did_not_come_is_named_once(notice, path):
    assert list(left_out_on_the_way([notice, notice], THERE, FAR)) == [f"{path}: the server says: {notice}"]


@pytest.mark.parametrize(
    "notice",
    [
        'skipping special file "./.s.PGSQL.5432"',
        'skipping special file "./log/fifo"',
        'checksum verification failed in file "./base/5/1259", block 3: calculated 1 but expected 2',
        'file "/mnt/far away/PG_15_1/5/2" has a total of 2 checksum verification failures',
        'skipping special file "/mnt/elsewhere/x"',
        "12/24 base backups aborted",
        "",
    ],
)
def test_what_came_or_is_not_the_clusters_is_none(notice):
    assert list(left_out_on_the_way([notice], THERE, FAR)) == []
