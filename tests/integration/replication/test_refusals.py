"""What stands in the way is said in one line, with what to do; nothing is stored, nothing stays on the server."""

import psycopg
import pytest
from tests.integration.backup_restore.clusters import make_place, require_free, sql
from tests.integration.wal_receive.test_refusals import access_rules
from tests.servers.postgres import postgres_binaries

from holdfast.errors import ServerError
from holdfast.postgres.base_backup import require_base_backup


def refused(stack):
    run = stack.run("backup", "db")
    assert stack.snapshots() == []
    return run.code, run.error["message"], run.error["hint"]


@pytest.mark.parametrize("major", [15, 18])
def test_a_role_without_replication_is_told_the_statement(make_cluster, make_stack, major):
    cluster = make_cluster(postgres_binaries(major))
    sql(cluster, "CREATE ROLE weak LOGIN")
    code, _, hint = refused(make_stack(cluster, user="weak"))
    assert (code, hint) == (1, 'as a superuser: ALTER ROLE "weak" REPLICATION')


@pytest.mark.parametrize("major", [15, 18])
def test_missing_access_rule_is_shown_as_a_line(make_cluster, make_stack, major):
    cluster = make_cluster(postgres_binaries(major))
    stack = make_stack(cluster)
    access_rules(cluster, "local all all trust")
    code, message, hint = refused(stack)
    assert (code, "no pg_hba.conf entry" in message) == (1, True)
    assert hint.endswith('local  replication  "postgres"  peer')


@pytest.mark.parametrize(("senders", "taken"), [("1", 0), ("2", 1)])
def test_too_few_wal_senders(make_cluster, make_stack, senders, taken):
    cluster = make_cluster(postgres_binaries(15), settings={"max_wal_senders": senders})
    stack = make_stack(cluster)
    held = [psycopg.connect(cluster.conninfo() + " replication=true") for _ in range(taken)]
    code, message, hint = refused(stack)
    assert (code, "no WAL sender left" in message, "raise max_wal_senders" in hint) == (11, True, True)
    for connection in held:
        connection.close()
    require_free(cluster)


def test_wal_level_is_too_low(make_cluster, make_stack):
    cluster = make_cluster(postgres_binaries(15), settings={"wal_level": "minimal", "max_wal_senders": "0"})
    code, _, hint = refused(make_stack(cluster))
    assert (code, hint) == (11, "set wal_level = replica and max_wal_senders = 10, then restart the server")


@pytest.mark.parametrize("slots", ["0", "1"])
def test_no_replication_slot_is_left(make_cluster, make_stack, slots):
    cluster = make_cluster(postgres_binaries(15), settings={"max_replication_slots": slots})
    if slots == "1":
        sql(cluster, "SELECT pg_create_physical_replication_slot('taken')")
    code, _, hint = refused(make_stack(cluster))
    assert (code, hint) == (1, "drop a slot that is not used, or raise max_replication_slots")


def test_the_server_is_down(cluster, make_stack):
    stack = make_stack(cluster)
    cluster.stop()
    code, message, hint = refused(stack)
    assert (code, "cannot connect" in message, bool(hint)) == (1, True, True)


def test_versions_that_send_it_otherwise_are_refused():
    require_base_backup(15)
    with pytest.raises(ServerError, match="PostgreSQL 14 cannot be backed up by the replication protocol") as caught:
        require_base_backup(14)
    assert caught.value.hint == "from 15 on it can; for 14 run Holdfast on the server itself, without 'method:'"


def test_doctor_tries_what_a_backup_needs(cluster, make_courier_stack):
    stack = make_courier_stack(cluster)
    words = [each["words"] for each in stack.succeed("doctor").messages if each.get("subject") == "service db"]
    assert any("answers over replication, a primary" in line for line in words)
    assert any("two connections" in line for line in words)
    assert any("WAL can be held" in line for line in words)
    tried = stack.succeed("config", "validate")
    assert "by replication" in tried.stdout
    require_free(cluster)

    access_rules(cluster, "local all postgres trust")
    run = stack.run("doctor")
    (failed,) = [each for each in run.messages if each.get("state") == "failed"]
    assert failed["remedy"].endswith('local  replication  "courier"  peer')
    assert stack.run("config", "validate").code != 0


@pytest.mark.parametrize("major", [15, 18])
def test_rule_that_rejects_is_answered_with_the_line_to_put_before_it(make_cluster, make_stack, major):
    cluster = make_cluster(postgres_binaries(major))
    stack = make_stack(cluster)
    access_rules(cluster, "local replication postgres reject", "local all all trust")
    code, message, hint = refused(stack)
    assert (code, "pg_hba.conf rejects" in message) == (1, True)
    assert hint.startswith("put before the line of pg_hba.conf that rejects it")
    assert hint.endswith('local  replication  "postgres"  peer')


@pytest.mark.parametrize(
    ("role", "rule", "words"),
    [
        ("LOGIN REPLICATION PASSWORD 'x'", "scram-sha-256", "no password supplied"),
        ("LOGIN REPLICATION", "peer", "Peer authentication failed"),
        ("REPLICATION", "trust", "not permitted to log in"),
        ("LOGIN REPLICATION PASSWORD 'x' VALID UNTIL '2001-01-01'", "scram-sha-256", "no password supplied"),
    ],
)
def test_role_that_may_not_come_in_is_told_what_to_look_at(make_cluster, make_stack, role, rule, words):
    cluster = make_cluster(postgres_binaries(15))
    sql(cluster, f"CREATE ROLE courier {role}")
    stack = make_stack(cluster, user="courier")
    access_rules(cluster, f"local replication courier {rule}", "local all postgres trust")
    code, message, hint = refused(stack)
    assert (code, words in message, bool(hint)) == (1, True, True), message


@pytest.mark.parametrize(("major", "link_is_refused"), [(15, True), (17, False)])
def test_names_too_long_for_the_server_to_send(make_cluster, make_stack, shared_directory, major, link_is_refused):
    """It is the server that gives up: its archives have no place for them."""
    cluster = make_cluster(postgres_binaries(major))
    place = make_place(shared_directory, "long" * 25)
    sql(cluster, f"CREATE TABLESPACE far LOCATION '{place}'", "CREATE TABLE t TABLESPACE far AS SELECT 1 AS one")
    stack = make_stack(cluster)
    if link_is_refused:
        assert_too_long(refused(stack))
    else:
        assert stack.backup()["facts"]["tablespaces"][0]["location"] == str(place)
    (cluster.data_directory / ("n" * 101)).touch()
    sql(cluster, "DROP TABLE t", "DROP TABLESPACE far")
    run = stack.run("backup", "db")
    assert_too_long((run.code, run.error["message"], run.error["hint"]))


def assert_too_long(refusal):
    code, message, hint = refusal
    assert (code, "too long for tar format" in message, "100 bytes and more" in hint) == (1, True, True), message
