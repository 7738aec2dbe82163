"""The ledger that proves restores: it must itself find what is missing and what is wrong."""

import psycopg
from tests.servers.load import Ledger, compare
from tests.servers.majors import on_majors

from holdfast import clock


@on_majors(15)
def test_ledger_is_exact_on_its_own_server_and_after_a_crash(binaries, make_cluster):
    cluster = make_cluster(binaries)
    ledger = Ledger(cluster.conninfo())
    ledger.start()
    ledger.wait_for(200)
    middle = clock.now()
    ledger.wait_for(200)
    cluster.stop()
    ledger.stop()
    assert ledger.interruptions
    cluster.start()
    found = compare(cluster.conninfo(), ledger.commits())
    assert found.is_exact
    assert 200 <= sum(len(c.ids) for c in ledger.commits(before=middle)) < found.rows


@on_majors(15)
def test_ledger_goes_on_after_a_pause(binaries, make_cluster):
    cluster = make_cluster(binaries)
    ledger = Ledger(cluster.conninfo())
    for _ in range(2):
        with ledger:
            ledger.wait_for(50)
    assert not ledger.interruptions
    assert compare(cluster.conninfo(), ledger.commits()).is_exact


@on_majors(15)
def test_comparison_finds_lost_and_changed_rows(binaries, make_cluster):
    cluster = make_cluster(binaries)
    with Ledger(cluster.conninfo()) as ledger:
        ledger.wait_for(50)
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        connection.execute("DELETE FROM ledger WHERE id = 7")
        connection.execute("UPDATE ledger SET payload = payload || 'x' WHERE id = 8")
    found = compare(cluster.conninfo(), ledger.commits())
    assert (found.missing, found.wrong, found.is_exact) == ((7,), (8,), False)
