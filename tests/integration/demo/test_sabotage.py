"""A demo that cannot fail proves nothing: each proof must notice the restore that is wrong in its own way."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from tests.integration.backup_restore.clusters import ask
from tests.integration.backup_restore.stack import wait_until
from tests.servers.majors import on_majors
from tests.servers.postgres import postgres_binaries

from holdfast import clock
from holdfast.cli.demo import CommandLineStage
from holdfast.cli.invocation import Invocation
from holdfast.errors import VerificationError
from holdfast.operations.demo.ledger import Ledger
from holdfast.operations.demo.load import PgbenchLoad, SqlLoad, make_load
from holdfast.operations.demo.proofs import prove_pages, prove_relations, prove_sums
from holdfast.operations.demo.run import DemoOptions, run_demo
from holdfast.operations.demo.stage import Proof, Verdict
from holdfast.postgres.connection import connect


class Saboteur(CommandLineStage):
    """Runs the commands as they are, and then harms what was restored; keeps the verdicts."""

    def __init__(self) -> None:
        super().__init__(Invocation(quiet=True))
        self.failed: list[str] = []

    def show(self, proof: Proof) -> None:
        if proof.verdict is Verdict.FAILED:
            self.failed.append(proof.text)


class TooEarly(Saboteur):
    """Recovers to the end of the last backup only: whole and consistent, but too old."""

    def run(self, arguments) -> None:
        super().run(["immediate" if argument == "latest" else argument for argument in arguments])


class FlippedBit(Saboteur):
    """Changes one bit in the middle of the largest file of the recovered cluster."""

    def run(self, arguments) -> None:
        super().run(arguments)
        if "--target" in arguments:
            files = Path(arguments[arguments.index("--target") + 1]).glob("base/*/*")
            flip_a_bit(max(files, key=lambda path: path.stat().st_size))


class ForgottenTable(Saboteur):
    """Lets the restore in place go to the end of the WAL, where the table is dropped already."""

    def run(self, arguments) -> None:
        if "--yes" in arguments and "--to" in arguments:
            arguments = [*arguments[: arguments.index("--to")], "--to", "latest", "--yes"]
        super().run(arguments)


def flip_a_bit(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 8192 // 2 * 8192 + 5000)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 4]))


@pytest.fixture
def demo_in(shared_directory, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(shared_directory))
    return shared_directory


@pytest.mark.slow
def test_rows_that_are_missing_are_noticed(demo_in):
    stage = TooEarly()
    with pytest.raises(VerificationError):
        run_demo(DemoOptions(scale=1), stage)
    assert len(stage.failed) == 1
    assert "committed rows of the ledger" in stage.failed[0]
    assert list(demo_in.iterdir()) == []


def test_a_page_that_is_wrong_is_noticed(demo_in):
    stage = FlippedBit()
    with pytest.raises(VerificationError):
        run_demo(DemoOptions(scale=1), stage)
    assert stage.failed
    assert list(demo_in.iterdir()) == []


@pytest.mark.slow
def test_a_table_that_did_not_come_back_is_noticed(demo_in):
    stage = ForgottenTable()
    with pytest.raises(VerificationError):
        run_demo(DemoOptions(scale=1), stage)
    assert any("invoices" in text for text in stage.failed)
    assert list(demo_in.iterdir()) == []


@pytest.mark.parametrize(
    "harm",
    [
        "DELETE FROM ledger WHERE id = 7",
        "UPDATE ledger SET amount = amount + 1 WHERE id = 7",
        "UPDATE ledger SET written = written + interval '1 microsecond' WHERE id = 7",
        "DELETE FROM ledger WHERE id > 10",
        "INSERT INTO ledger SELECT max(id) + 1, now(), 1 FROM ledger",
    ],
)
def test_a_ledger_that_was_harmed_is_not_exact(make_cluster, harm):
    cluster = make_cluster(postgres_binaries(15))
    with Ledger(cluster.conninfo()) as ledger:
        while ledger.committed < 30:
            clock.sleep(0.01)
    assert ledger.compare(cluster.conninfo()).is_exact
    with connect(cluster.conninfo()) as connection:
        connection.execute(harm.encode().replace(b"ledger", b"public.ledger"))
    assert not ledger.compare(cluster.conninfo()).is_exact


@pytest.mark.parametrize("kind", [PgbenchLoad, SqlLoad])
def test_either_load_keeps_the_sums_equal_and_a_half_transaction_is_noticed(make_cluster, shared_directory, kind):
    cluster = make_cluster(postgres_binaries(15))
    load = make_load(cluster.binaries, cluster.conninfo(), 1, shared_directory)
    if kind is SqlLoad:
        load = SqlLoad(cluster.conninfo(), 1)
    load.fill()
    with load:
        wait_until(lambda: ask(cluster, "SELECT EXISTS (SELECT FROM pgbench_history)"))
    proof = prove_sums(cluster.conninfo())
    assert proof.verdict is Verdict.PROVEN
    assert " 0 transactions" not in proof.text
    with connect(cluster.conninfo()) as connection:
        connection.execute("UPDATE public.pgbench_branches SET bbalance = bbalance + 1")
    assert prove_sums(cluster.conninfo()).verdict is Verdict.FAILED


@on_majors(15, 18)
def test_damage_below_the_rows_is_noticed(binaries, make_cluster):
    cluster = make_cluster(binaries, has_checksums=True)
    with connect(cluster.conninfo()) as connection:
        connection.execute("CREATE TABLE public.numbers AS SELECT n FROM generate_series(1, 100000) n")
        path = connection.execute("SELECT pg_relation_filepath('public.numbers')").fetchone()[0]
    expected = Verdict.PROVEN if binaries.has_program("pg_amcheck") else Verdict.NOT_SHOWN
    assert prove_relations(binaries, cluster.conninfo()).verdict is expected
    cluster.stop()
    expected = Verdict.PROVEN if binaries.has_program("pg_checksums") else Verdict.NOT_SHOWN
    assert prove_pages(binaries, cluster.data_directory).verdict is expected
    flip_a_bit(cluster.data_directory / path)
    expected = Verdict.FAILED if binaries.has_program("pg_checksums") else Verdict.NOT_SHOWN
    assert prove_pages(binaries, cluster.data_directory).verdict is expected
    cluster.start()
    expected = Verdict.FAILED if binaries.has_program("pg_amcheck") else Verdict.NOT_SHOWN
    assert prove_relations(binaries, cluster.conninfo()).verdict is expected
