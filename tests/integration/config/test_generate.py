"""``config generate`` asks a real server, and what it writes is a stack file that holds."""

from __future__ import annotations

import json

import psycopg
from tests.servers.majors import on_majors

from holdfast.cli.main import main
from holdfast.config.load import load_stack


@on_majors(15, 18)
def test_the_file_fits_the_server(binaries, make_cluster, tmp_path, capsys):
    cluster = make_cluster(binaries)
    output = tmp_path / "holdfast.yaml"
    arguments = [
        "config",
        "generate",
        "--connection",
        cluster.conninfo(),
        "--stack",
        "shop",
        "--url",
        str(tmp_path / "repo"),
    ]
    assert main([*arguments, "-o", str(output)]) == 0
    assert capsys.readouterr().out == f"wrote {output}\n"
    stack = load_stack(output)
    assert (stack.stack, stack.services["db"].connection) == ("shop", cluster.conninfo())
    text = output.read_text()
    assert f"# PostgreSQL {binaries.major}" in text
    assert "a primary" in text
    lines = ["archive_mode = 'on'", """archive_command = 'set -- "%p" "%f"; . /var/spool/holdfast/shop/db/archive'"""]
    assert "".join(f"    #   {line}\n" for line in lines) in text  # word for word, as postgresql.conf takes them
    assert main([*arguments, "-o", str(output)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([*arguments, "--json"]) == 0
    message = json.loads(capsys.readouterr().out)
    assert (message["message_type"], message["file"], message["text"]) == ("config_generated", None, text)


@on_majors(15, 18)
def test_a_role_that_lacks_privileges_is_told_what_to_run(binaries, make_cluster, capsys):
    cluster = make_cluster(binaries)
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        connection.execute("CREATE ROLE weak LOGIN")
    arguments = ["config", "generate", "--connection", cluster.conninfo(user="weak")]
    assert main(arguments) == 1
    statements = [line.strip() for line in capsys.readouterr().err.splitlines() if line.startswith("  ")]
    assert any(statement.startswith("GRANT") for statement in statements)
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)
    assert main(arguments) == 0


def test_a_server_that_does_not_answer(tmp_path, capsys):
    output = tmp_path / "holdfast.yaml"
    assert main(["config", "generate", "--connection", f"host={tmp_path}", "-o", str(output)]) == 1
    assert "cannot connect" in capsys.readouterr().err
    assert not output.exists()


def test_a_password_in_the_connection_is_refused_before_it_is_used(tmp_path, capsys):
    assert main(["config", "generate", "--connection", f"host={tmp_path} password=canary-9a21"]) == 2
    shown = capsys.readouterr()
    assert "a password may not stand in the connection" in shown.err
    assert "canary-9a21" not in shown.out + shown.err
