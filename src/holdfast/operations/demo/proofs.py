"""What must be true of the restored cluster, each shown by somebody else's means where there are such.

Row by row against our memory, the sums that every transaction keeps equal, PostgreSQL's own examination of tables and
indexes, and its own verification of every page checksum.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from holdfast import clock
from holdfast.errors import HoldfastError
from holdfast.operations.demo.stage import Proof, Verdict
from holdfast.postgres.account import server_account
from holdfast.postgres.connection import connect, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from holdfast.operations.demo.ledger import Ledger
    from holdfast.postgres.account import Account
    from holdfast.postgres.binaries import Binaries

_PROGRAM_TIMEOUT_S = 1800
_LINES_SHOWN = 5
_HAS_AMCHECK = "SELECT FROM pg_available_extensions WHERE name = 'amcheck'"
_SUMS = """
SELECT (SELECT sum(abalance) FROM public.pgbench_accounts), (SELECT sum(tbalance) FROM public.pgbench_tellers),
       (SELECT sum(bbalance) FROM public.pgbench_branches), coalesce(sum(delta), 0), count(*)
  FROM public.pgbench_history
"""


def timed(prove: Callable[[], Proof]) -> Proof:
    """Return a proof with the seconds that it took; a server that refuses to read its data is a failed one."""
    began = clock.monotonic()
    try:
        proof = prove()
    except HoldfastError as error:
        proof = Proof(Verdict.FAILED, error.message)
    return Proof(proof.verdict, proof.text, clock.monotonic() - began)


def prove_ledger(ledger: Ledger, conninfo: str) -> Proof:
    """Every row that was ever acknowledged is there, and equal."""
    found = ledger.compare(conninfo)
    if not found.is_exact:
        text = (
            f"of {found.required:,} committed rows of the ledger, {found.found:,} are there and {found.equal:,} equal"
        )
        return Proof(Verdict.FAILED, text)
    return Proof(
        Verdict.PROVEN, f"all {found.required:,} ledger rows ever committed are there, equal row by row: none is lost"
    )


def prove_sums(conninfo: str) -> Proof:
    """No transaction is there in part."""
    with connect(conninfo) as connection, translated("adding up the balances"):
        answer = connection.execute(_SUMS).fetchone()
    assert answer is not None
    *sums, transactions = answer
    if len(set(sums)) > 1:
        return Proof(Verdict.FAILED, f"accounts, tellers, branches and history disagree: {sums}")
    return Proof(Verdict.PROVEN, f"accounts, tellers, branches and history agree on {transactions:,} transactions")


def prove_relations(binaries: Binaries, conninfo: str) -> Proof:
    """``pg_amcheck`` finds nothing wrong in any table or index, and every row in every B-tree index."""
    if not binaries.has_program("pg_amcheck"):
        return Proof(Verdict.NOT_SHOWN, f"tables and indexes: there is no pg_amcheck in {binaries.directory}")
    with connect(conninfo) as connection, translated("looking for amcheck"):
        if connection.execute(_HAS_AMCHECK).fetchone() is None:
            return Proof(Verdict.NOT_SHOWN, "tables and indexes: the extension amcheck is not installed")
    command = [str(binaries.program("pg_amcheck")), "--all", "--heapallindexed", "--install-missing", "--jobs=2"]
    return _prove_by(
        "pg_amcheck --heapallindexed finds nothing", [*command, f"--maintenance-db={conninfo}"], account=None
    )


def prove_pages(binaries: Binaries, data_directory: Path) -> Proof:
    """``pg_checksums`` finds every page checksum right; the server is stopped."""
    if not binaries.has_program("pg_checksums"):
        return Proof(Verdict.NOT_SHOWN, f"page checksums: there is no pg_checksums in {binaries.directory}")
    command = [str(binaries.program("pg_checksums")), "--check", f"--pgdata={data_directory}"]
    return _prove_by(
        "pg_checksums finds every page of the stopped cluster right", command, server_account(data_directory)
    )


def _prove_by(text: str, command: Sequence[str], account: Account | None) -> Proof:
    answer = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_PROGRAM_TIMEOUT_S,
        check=False,
        cwd="/",
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        **(account.child_identity() if account else {}),
    )
    if answer.returncode == 0:
        return Proof(Verdict.PROVEN, text)
    said = (answer.stdout + answer.stderr).splitlines()[:_LINES_SHOWN]
    return Proof(Verdict.FAILED, "\n".join([f"{command[0]} ended with {answer.returncode}", *said]))
