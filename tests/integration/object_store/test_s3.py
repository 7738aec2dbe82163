"""The main path with a repository in S3: the same commands, the same promises, on a real S3 server."""

import pytest
from tests.integration.backup_restore.clusters import ask, sql, start_restored
from tests.integration.backup_restore.stack import StackDirectory
from tests.servers.load import Ledger, compare
from tests.servers.postgres import postgres_binaries

from holdfast.postgres.lsn import Lsn

_ROWS = 20000


@pytest.fixture
def make_stack(bucket_section, tmp_path):
    """Make a stack whose repository is in a new bucket."""

    def make(cluster, **changes):
        repository = {**bucket_section, "s3": {**bucket_section["s3"], **changes}}
        return StackDirectory(tmp_path / "stack", {"db": cluster.conninfo()}, repository=repository)

    return make


def test_backup_check_and_restore_through_s3(make_cluster, make_stack, shared_directory):
    cluster = make_cluster(postgres_binaries(15))
    sql(cluster, f"CREATE TABLE item AS SELECT i AS id, md5(i::text) AS t FROM generate_series(1, {_ROWS}) AS i")
    stack = make_stack(cluster)
    stack.succeed("init")
    with Ledger(cluster.conninfo()) as ledger:
        ledger.wait_for(100)
        first = stack.backup()
        ledger.wait_for(50)
        second = stack.backup()
    assert second["stats"]["stored_bytes"] < first["stats"]["stored_bytes"]
    stack.check()
    cluster.stop()

    target = shared_directory / "restored"
    stack.succeed("restore", "db", "--target", target)
    restored = start_restored(make_cluster, cluster, target)
    assert ask(restored, "SELECT count(*) FROM item") == _ROWS
    due = ledger.commits(until=Lsn.parse(second["facts"]["stop_lsn"]))
    assert len(due) > 50
    assert compare(restored.conninfo(), due).is_exact


def test_damage_in_the_bucket_is_found_and_never_restored(gateway, make_cluster, make_stack, shared_directory):
    stack = make_stack(make_cluster(postgres_binaries(15)))
    stack.succeed("init")
    stack.backup()
    (pack,) = [path for path in gateway.bucket_directory("backups").rglob("packs/data/*/*") if path.is_file()]
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)

    check = stack.run("check", "--read-data")
    assert check.code == 14, str(check)
    assert pack.name in check.stdout
    restore = stack.run("restore", "db", "--target", shared_directory / "restored")
    assert restore.code == 14, str(restore)
    assert not (shared_directory / "restored" / "global" / "pg_control").exists()


def test_a_server_that_is_away_is_named_with_a_hint(gateway, make_cluster, make_stack):
    stack = make_stack(make_cluster(postgres_binaries(15)))
    stack.succeed("init")
    gateway.stop()
    run = stack.run("backup", "db")
    assert run.code == 1, str(run)
    assert run.error["hint"]
    gateway.start()
    assert stack.backup()["is_complete"]


def test_wrong_keys_are_refused_without_showing_them(make_cluster, make_stack):
    stack = make_stack(make_cluster(postgres_binaries(15)), access_key_id="SOMEBODYELSE")
    run = stack.run("init")
    assert run.code == 1, str(run)
    assert run.error["hint"]
