"""PostgreSQL 17 and 18 as they come here, without client programs: rows alone, and only into tables that are there."""

import subprocess

import pytest
from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.backup_restore.stack import StackDirectory
from tests.servers.postgres import postgres_binaries

TABLE = """CREATE TABLE kept
           (id int GENERATED ALWAYS AS IDENTITY, "a b" text, twice int GENERATED ALWAYS AS (id * 2) STORED)"""
ROWS = "SELECT md5(string_agg(k::text, '|' ORDER BY id)) FROM kept AS k"


@pytest.mark.parametrize("major", [17, pytest.param(18, marks=pytest.mark.slow)])
def test_rows_come_back_without_a_dump_program(make_cluster, tmp_path, shared_directory, major):
    cluster = make_cluster(postgres_binaries(major))
    sql(cluster, TABLE, """INSERT INTO kept ("a b") SELECT E'\\t\\\\N' || i FROM generate_series(1, 1000) AS i""")
    stack = StackDirectory(tmp_path / "stack", {"db": cluster.conninfo()})
    stack.service["binaries"] = str(cluster.binaries.directory)
    stack.write()
    stack.succeed("init")
    stack.backup()
    rows = ask(cluster, ROWS)
    options = ("restore", "db", "--table", "kept")
    into = (*options, "--into", cluster.conninfo())

    run = stack.run(*into)
    assert (run.code, "has rows already" in run.error["message"]) == (2, True)
    sql(cluster, "ALTER TABLE kept RENAME TO gone")
    run = stack.run(*into)
    assert (run.code, "cannot be made without pg_dump" in run.error["message"]) == (2, True)
    sql(cluster, TABLE)
    done = stack.succeed(*into).message("part_restored")
    assert done["program"] is None
    assert ask(cluster, ROWS) == rows
    assert ask(cluster, "SELECT nextval('kept_id_seq')") == 1001

    output = shared_directory / "rows.sql"
    stack.succeed(*options, "--output", output)
    sql(cluster, "TRUNCATE kept")
    psql = postgres_binaries(15).program("psql")
    command = [psql, "-d", cluster.conninfo(), "-v", "ON_ERROR_STOP=1", "-q", "-f", output]
    subprocess.run(command, check=True, capture_output=True)
    assert ask(cluster, ROWS) == rows
    assert output.read_text().startswith("-- Written by holdfast with COPY")
