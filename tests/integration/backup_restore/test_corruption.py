"""Pages that are corrupt at the source: the backup is made, says so, and goes on saying so."""

import pytest
from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.backup_restore.stack import finish
from tests.integration.backup_restore.test_incremental import settle
from tests.integration.backup_restore.test_round_trip import damage
from tests.servers.postgres import postgres_binaries

from holdfast.postgres.page import page_lsn


@pytest.fixture
def cluster(make_cluster):
    cluster = make_cluster(postgres_binaries(15), settings={"autovacuum": "off"})
    sql(
        cluster,
        "CREATE TABLE t AS SELECT i AS id, repeat(md5(i::text), 20) AS t FROM generate_series(1, 9000) AS i",
        "VACUUM",
        "CHECKPOINT",
    )
    return cluster


def test_corrupt_page_is_named_marks_the_snapshot_and_is_inherited(cluster, make_stack, shared_directory):
    relation = ask(cluster, "SELECT pg_relation_filepath('t')")
    path = cluster.data_directory / relation
    damage(path, 7)
    with path.open("rb") as file:
        file.seek(7 * 8192)
        lsn = str(page_lsn(file.read(8192)))
    settle()
    stack = make_stack(cluster)
    for number in range(2):  # the second one does not read the file again
        run = stack.run("backup", "db")
        assert run.code == 3, str(run)
        snapshot = run.message("snapshot_made")
        assert (snapshot["is_complete"], snapshot["is_clean"]) == (True, False)
        assert snapshot["facts"]["corrupt_pages"] == [{"path": relation, "block": 7, "lsn": lsn}]
        assert snapshot["warnings"] == [f"corrupt page: {relation} block 7, LSN {lsn}"]
        assert (snapshot["stats"]["files_read"] < 20) == (number == 1)
    stack.check()

    # it is stored as it is, and what the operator gets to see says so
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target)
    assert (target / relation).read_bytes() == path.read_bytes()

    damage(path, 7)  # flipped back
    healed = stack.backup()
    assert (healed["is_clean"], healed["facts"]["corrupt_pages"]) == (True, [])


def test_people_are_told_of_corrupt_pages(cluster, make_stack):
    import subprocess

    relation = ask(cluster, "SELECT pg_relation_filepath('t')")
    for block in range(30):
        damage(cluster.data_directory / relation, block)
    stack = make_stack(cluster)
    child = subprocess.Popen(
        stack.command("backup", "db"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=stack.environment,
    )
    run = finish(child)
    assert run.code == 3
    assert "CORRUPT SOURCE" in run.stdout
    assert run.stdout.count("corrupt page: ") == 20
    assert "and 10 more corrupt pages: 'holdfast show' lists them all" in run.stdout


def test_all_zero_and_torn_tail_pages_are_valid(cluster, make_stack):
    relation = ask(cluster, "SELECT pg_relation_filepath('t')")
    with (cluster.data_directory / relation).open("ab") as file:
        file.write(bytes(3 * 8192))
        file.write(b"an odd tail, as a file has that is being extended")
    assert make_stack(cluster).backup()["is_clean"]
