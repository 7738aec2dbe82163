"""What the source may be: corrupt in places, of more small files than memory holds, without names."""

from tests.integration.backup_restore.clusters import (
    ask,
    make_place,
    relation_files,
    require_sound,
    sql,
    start_restored,
)
from tests.integration.backup_restore.stack import At
from tests.integration.backup_restore.test_round_trip import damage
from tests.servers.majors import on_majors

from holdfast.postgres.page import page_lsn
from holdfast.services.postgres import replication_files


@on_majors(15, 18)
def test_corrupt_page_is_named_by_the_server_and_by_us(binaries, make_cluster, make_stack, shared_directory):
    cluster = make_cluster(binaries, settings={"autovacuum": "off"})
    sql(
        cluster,
        "CREATE TABLE t AS SELECT i AS id, repeat(md5(i::text), 20) AS t FROM generate_series(1, 9000) AS i",
        "CHECKPOINT",
    )
    relation = ask(cluster, "SELECT pg_relation_filepath('t')")
    path = cluster.data_directory / relation
    damage(path, 7)
    with path.open("rb") as file:
        file.seek(7 * 8192)
        lsn = str(page_lsn(file.read(8192)))
    stack = make_stack(cluster)
    run = stack.run("backup", "db")
    assert run.code == 3, str(run)
    snapshot = run.message("snapshot_made")
    assert (snapshot["is_complete"], snapshot["is_clean"]) == (True, False)
    assert snapshot["facts"]["corrupt_pages"] == [{"path": relation, "block": 7, "lsn": lsn}]
    ours, *servers = snapshot["warnings"]
    assert ours == f"corrupt page: {relation} block 7, LSN {lsn}"
    assert servers[0].startswith(f'the server says: checksum verification failed in file "./{relation}", block 7')
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target)
    assert (target / relation).read_bytes() == path.read_bytes()

    damage(path, 7)  # flipped back
    assert not stack.backup()["warnings"]


def test_zero_pages_and_odd_tails_are_valid(cluster, make_stack):
    with (cluster.data_directory / ask(cluster, "SELECT pg_relation_filepath('item')")).open("ab") as file:
        file.write(bytes(3 * 8192))
        file.write(b"an odd tail, as a file has that is being extended")
    assert make_stack(cluster).backup()["is_clean"]


def test_tablespace_with_a_name_that_only_numbers_tell(cluster, make_courier_stack, shared_directory, make_cluster):
    place = make_place(shared_directory, "place")
    sql(cluster, f"CREATE TABLESPACE far LOCATION '{place}'", "CREATE TABLE t TABLESPACE far AS SELECT 1 AS one")
    stack = make_courier_stack(cluster)
    run = stack.succeed("backup", "db")
    facts = run.message("snapshot_made")["facts"]
    number = ask(cluster, "SELECT oid FROM pg_tablespace WHERE spcname = 'far'")
    assert facts["tablespaces"] == [{"oid": number, "name": str(number), "location": str(place), "is_in_place": False}]
    assert (facts["databases"], facts["data_directory"]) == ([], "")
    assert "databases" in run.stdout + run.stderr
    stack.succeed("show", "latest")


def test_more_small_files_than_memory_holds(cluster, make_stack, make_cluster, shared_directory, monkeypatch):
    sql(
        cluster,
        "DO $$ BEGIN FOR i IN 1..60 LOOP EXECUTE format('CREATE TABLE small_%s AS SELECT repeat(md5(n::text), 9) AS t "
        "FROM generate_series(1, 200) AS n', i); END LOOP; END $$",
        "CHECKPOINT",
    )
    stack = make_stack(cluster)
    monkeypatch.setattr(replication_files, "_HELD_BYTES", 1 << 20)
    snapshot = stack.back_up_here(At("", lambda: None))
    assert (snapshot.is_complete, snapshot.is_clean) == (True, True)
    stack.check()
    cluster.stop()
    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target)
    expected, found = relation_files(cluster.data_directory), relation_files(target)
    assert [path for path in found if found[path] != expected[path]] == []
    assert len(found) > 900
    require_sound(start_restored(make_cluster, cluster, target))


def test_restore_in_place_wants_to_know_the_data_directory(cluster, make_courier_stack):
    stack = make_courier_stack(cluster)
    stack.backup()
    cluster.stop()
    run = stack.run("restore", "db", "--yes")
    assert run.code == 2, str(run)
    assert "data_directory" in run.error["hint"] + run.error["message"]
