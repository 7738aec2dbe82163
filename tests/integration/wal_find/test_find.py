"""``holdfast wal find`` as a user types it, on the archive of a real server."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from jsonschema import Draft202012Validator
from tests.integration.backup_restore.clusters import ask, make_place, sql
from tests.integration.backup_restore.stack import StackDirectory
from tests.servers.postgres import ClusterFactory, postgres_binaries, temporary_clusters

from holdfast.wal.archive import WalArchive
from holdfast.wal.names import piece_name

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMAS = Path(__file__).parents[3] / "docs/reference/json"
SEGMENT_SIZE = 2**20


class Accident:
    """A cluster, backed up and archived, in which somebody deletes everything; and what is known about it."""

    def __init__(self, factory: ClusterFactory, directory: Path) -> None:
        settings = {"wal_level": "replica", "wal_keep_size": "512MB"}
        self.cluster = factory(postgres_binaries(15), settings=settings, wal_segment_size_bytes=SEGMENT_SIZE)
        self.stack = StackDirectory(directory, {"db": self.cluster.conninfo()})
        self.stack.make_repository()
        sql(self.cluster, "CREATE TABLE item AS SELECT i FROM generate_series(1, 1000) AS i")
        self.snapshot = self.stack.backup()
        with psycopg.connect(self.cluster.conninfo(), autocommit=True) as connection:
            for _ in range(3):
                connection.execute("CREATE TABLE IF NOT EXISTS before_it ()")
                connection.execute("SELECT pg_switch_wal()")
                connection.execute("DROP TABLE IF EXISTS before_it")
            connection.execute("SELECT pg_create_restore_point('release 7')")
            self.begin = self._now(connection)
            self.deletion = self._change(connection, "DELETE FROM item", "COMMIT")
            self.aborted = self._change(connection, "INSERT INTO item VALUES (0)", "ROLLBACK")
            self.end = self._now(connection)
            connection.execute("SELECT pg_create_restore_point('release 7')")
            self.running = self._change(connection, "INSERT INTO item VALUES (0)", "SELECT 1")
            self._archive()
            connection.execute("ROLLBACK")

    def find(self, *arguments: object) -> list[dict[str, object]]:
        """Run the command; its messages must be as documented."""
        messages = self.stack.succeed("wal", "find", "--service", "db", *arguments).messages
        results = [each for each in messages if each["message_type"] != "progress"]
        for message in results:
            schema = json.loads((SCHEMAS / f"{message['message_type']}.json").read_text())
            Draft202012Validator(schema).validate(message)
        return results

    def text(self, *arguments: object) -> str:
        """Run the command as people do; return all that they see."""
        command = self.stack.command("wal", "find", "--service", "db", *arguments)
        answer = subprocess.run(command, capture_output=True, text=True, env=self.stack.environment, check=True)
        return answer.stdout + answer.stderr

    def _archive(self) -> None:
        """Archive what there is: whole segments, and of the last one two pieces, as the receiver does."""
        sql(self.cluster, "CREATE TABLE flush ()")
        current = ask(self.cluster, "SELECT pg_walfile_name(pg_current_wal_lsn())")
        flushed = ask(self.cluster, "SELECT (pg_walfile_name_offset(pg_current_wal_flush_lsn())).file_offset")
        repository = self.stack.open()
        identifier = ask(self.cluster, "SELECT system_identifier::text FROM pg_control_system()")
        archive = WalArchive(repository.storage, repository.keys, identifier)
        for path in sorted((self.cluster.data_directory / "pg_wal").glob("0000000100*")):
            if path.name < current and "." not in path.name:
                archive.push(path.name, path.read_bytes())
        content = (self.cluster.data_directory / "pg_wal" / current).read_bytes()
        for begin, end in ((0, flushed // 2), (flushed // 2, flushed)):
            archive.push(piece_name(current, begin, end), content[begin:end])

    def _change(self, connection: psycopg.Connection, statement: str, end: str) -> int:
        connection.execute("BEGIN")
        connection.execute(statement)
        xid = connection.execute("SELECT pg_current_xact_id()::text").fetchone()[0]
        connection.execute(end)
        return int(xid)

    def _now(self, connection: psycopg.Connection) -> str:
        return connection.execute("SELECT clock_timestamp()").fetchone()[0].isoformat()


@pytest.fixture(scope="module")
def accident() -> Iterator[Accident]:
    with temporary_clusters() as factory:
        yield Accident(factory, make_place(factory.directory, "stack"))


def test_the_transaction_that_deleted_everything(accident):
    (end,) = accident.find("--xid", accident.deletion)
    assert (end["message_type"], end["xid"], end["kind"], end["timeline"]) == (
        "transaction_end",
        accident.deletion,
        "commit",
        1,
    )
    assert accident.begin < end["time"].replace("Z", "+00:00") < accident.end


def test_people_are_told_how_to_go_on(accident):
    words = accident.text("--xid", accident.deletion)
    assert f"holdfast restore db --to xid:{accident.deletion} --exclusive" in words
    assert "rolled back" in accident.text("--xid", accident.aborted)
    words = accident.text("--between", accident.begin, accident.end)
    assert "1 commit, 1 abort" in words
    assert f" {accident.deletion} " in words


def test_what_ended_between_two_times(accident):
    found = accident.find("--between", accident.begin, accident.end)
    ends = [(each["xid"], each["kind"]) for each in found if each["message_type"] == "transaction_end"]
    assert ends == [(accident.deletion, "commit"), (accident.aborted, "abort")]
    minutes = [each for each in found if each["message_type"] == "transaction_minute"]
    assert sum(each["commits"] + each["aborts"] for each in minutes) == 2


def test_what_is_said_of_a_transaction_that_was_rolled_back_is_a_target(accident):
    (end,) = accident.find("--xid", accident.aborted)
    words = accident.text("--xid", accident.aborted)
    assert f"--to {end['start_lsn']}" in words
    assert "--to xid:" not in words


def test_restore_points_of_a_name(accident):
    points = accident.find("--name", "release 7")
    assert [each["message_type"] for each in points] == ["restore_point"] * 2
    assert points[0]["time"] < points[1]["time"]
    words = accident.text("--name", "release 7")
    assert ("--to LSN --exclusive" in words, "--to name:" in words) == (True, False)  # the name alone is refused
    assert accident.find("--name", "release 7", "--between", "1 day ago", accident.begin) == points[:1]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--xid", "3999999999"), 13, "the end of transaction 3999999999 is not in the WAL"),
        (("--name", "release 8"), 13, "there is no restore point 'release 8'"),
        (("--timeline", "9", "--xid", "5"), 13, "the archive knows no timeline 9"),
        (("--xid", "two"), 2, "not a transaction id"),
        (("--between", "yesterday 14:00", "yesterday 13:00"), 2, "nothing lies between"),
        (("--between", "whenever", "now"), 2, "not a time"),
        ((), 2, "say what to find"),
        (("--xid", "5", "--name", "x"), 2, "say what to find"),
    ],
)
def test_bad_input_is_refused_in_one_line(accident, arguments, code, message):
    run = accident.stack.run("wal", "find", "--service", "db", *arguments)
    assert (run.code, run.error["exit_code"]) == (code, code), str(run)
    assert message in run.error["message"]
    assert run.error["hint"]


def test_a_running_transaction_has_not_ended(accident):
    run = accident.stack.run("wal", "find", "--service", "db", "--xid", accident.running)
    assert run.code == 13


def test_an_answer_tells_of_the_wal_that_it_could_not_look_at(accident, tmp_path):
    copy = StackDirectory(tmp_path / "copy", accident.stack.connections)
    shutil.copytree(accident.stack.place, copy.place)
    segments = sorted(path for path in (copy.place / "wal").rglob("*") if path.is_file() and "." not in path.name)
    assert len(segments) > 2
    segments[1].unlink()
    run = copy.run("wal", "find", "--service", "db", "--xid", "3999999999")
    assert run.code == 13
    assert any("is not there" in detail for detail in run.error["details"])
    found = copy.succeed("wal", "find", "--service", "db", "--name", "release 7")
    assert "is not there" in found.message("warning")["text"]


def test_a_service_without_wal_is_told_so(accident, tmp_path):
    stack = StackDirectory(tmp_path / "other", accident.stack.connections)
    stack.make_repository()
    assert stack.run("wal", "find", "--service", "db", "--xid", 5).code != 0
    stack.backup()
    run = stack.run("wal", "find", "--service", "db", "--xid", 5)
    assert (run.code, run.error["message"]) == (13, "no WAL of db is archived on timeline 1")
