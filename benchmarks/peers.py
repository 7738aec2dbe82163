"""The programs that are compared: each knows how to back up and restore the same cluster."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Run, run_once
from holdfast.postgres.account import Account, server_account

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.postgres.local import LocalCluster

_PGBACKREST = """
[global]
repo1-path={repo}
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=benchmark-only
repo1-bundle=y
repo1-retention-full=100
process-max=2
compress-type=zst
compress-level=3
log-path={work}
lock-path={work}
spool-path={work}
log-level-console=warn
log-level-file=off
start-fast=y
archive-check=n
archive-copy=n
{options}[bench]
pg1-path={data}
pg1-socket-path={socket}
pg1-user=postgres
"""


_KEY_OF = {"recovery": "identity"}
"""The key of the stack file that takes a secret, where it is called otherwise."""


def emptied(directory: Path, account: Account) -> None:
    """Leave a directory empty, and the account's."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    account.take_over(directory)


def tree_bytes(directory: Path) -> int:
    """Return the bytes of all files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


class PgBackRest:
    """Debian's pgBackRest: two processes, zstd 3, bundles, its cipher on; ``options`` are lines of the file."""

    def __init__(self, work: Path, cluster: LocalCluster, options: str = "") -> None:
        self._account = server_account(cluster.data_directory)
        self._work, self.repo = work, work / "repo"
        emptied(work, self._account)
        socket = cluster.conninfo().split()[0].removeprefix("host=")
        self._config = work / "pgbackrest.conf"
        self._config.write_text(
            _PGBACKREST.format(repo=self.repo, work=work, data=cluster.data_directory, socket=socket, options=options)
        )

    def _run(self, *arguments: str) -> Run:
        command = ["pgbackrest", f"--config={self._config}", "--stanza=bench", *arguments]
        return run_once(command, account=self._account)

    def empty(self) -> None:
        """Begin a new repository."""
        emptied(self.repo, self._account)
        self._run("stanza-create")

    def backup(self, kind: str) -> Run:
        """Back up: ``full`` or ``incr``."""
        return self._run(f"--type={kind}", "backup")

    def restore(self, target: Path) -> Run:
        """Restore to an empty directory of its account."""
        return self._run(f"--pg1-path={target}", "--archive-mode=off", "--type=immediate", "restore")

    def stored_bytes(self) -> int:
        """Return what the repository occupies."""
        return tree_bytes(self.repo)


@dataclass(frozen=True)
class HoldfastSetup:
    """Where one Holdfast repository is and how it is opened: YAML of the repository beside its URL, of the service."""

    name: str
    url: str
    options: str = ""
    service: str = ""


class Holdfast:
    """This tool, as its users run it: the console script and a stack file.

    Made with a passphrase; ``with_writer_credential`` is the same with the key that a database host should hold, which
    needs no stretching.
    """

    def __init__(self, work: Path, cluster: LocalCluster, setup: HoldfastSetup) -> None:
        self._work, self._cluster, self._setup = work, cluster, setup
        work.mkdir(parents=True, exist_ok=True)
        self._write_secret("passphrase", "benchmark only")
        self._stack = self._write_stack("passphrase")
        self._host_stack = self._write_stack("identity")
        self._recovery_stack = self._write_stack("recovery")

    def empty(self) -> None:
        """Begin a new repository."""
        if self._setup.url.startswith("/"):
            shutil.rmtree(self._setup.url, ignore_errors=True)
        self.run("init")
        self._write_secret("identity", self._add_key("--writer", "HOLDFAST-WRITER"))
        self._write_secret("recovery", self._add_key("--recovery", "HOLDFAST-RECOVERY"))

    def run(self, *arguments: str) -> Run:
        """Run one command."""
        return run_once([*self._command(self._stack), "-q", *arguments])

    def backup(self) -> Run:
        """Back up, with the passphrase."""
        return self.run("backup", "db")

    def run_as_host(self, *arguments: str) -> Run:
        """Run one command with the writer credential."""
        return run_once([*self._command(self._host_stack), "-q", *arguments])

    def run_as_owner(self, *arguments: str) -> Run:
        """Run one command with the recovery identity: all that the passphrase opens, without stretching."""
        return run_once([*self._command(self._recovery_stack), "-q", *arguments])

    def restore(self, target: Path) -> Run:
        """Restore to a directory that does not exist, with the passphrase."""
        return self.run("restore", "db", "--target", str(target))

    def _add_key(self, kind: str, beginning: str) -> str:
        """Add a key slot; return the secret that was printed."""
        command = [*self._command(self._stack), "--json", "key", "add", kind]
        added = subprocess.run(command, capture_output=True, text=True, check=True)
        (secret,) = [value for value in json.loads(added.stdout).values() if str(value).startswith(beginning)]
        return str(secret)

    @staticmethod
    def _command(stack: Path) -> list[str]:
        return [str(Path(sys.executable).with_name("holdfast")), "-c", str(stack)]

    def _write_secret(self, name: str, text: str) -> None:
        path = self._work / name
        path.write_text(text + "\n")
        path.chmod(0o600)

    def _write_stack(self, secret: str) -> Path:
        path = self._work / f"{secret}.yaml"
        path.write_text(
            f"stack: bench\nrepositories:\n  main:\n    url: {self._setup.url}\n"
            f"    {_KEY_OF.get(secret, secret)}: {{file: {self._work / secret}}}\n{self._setup.options}"
            f"services:\n  db:\n    kind: postgres\n    connection: {self._cluster.conninfo()}\n{self._setup.service}"
        )
        return path


def copy_tree(source: Path, target: Path) -> Run:
    """Copy a directory and make the copy durable: the least that any restore must do."""
    return run_once(["sh", "-c", f"cp -r {source} {target} && sync"])


def versions() -> Mapping[str, str]:
    """Return the versions of what is compared."""
    from holdfast import __version__

    peer = subprocess.run(["pgbackrest", "version"], capture_output=True, text=True, check=True).stdout.strip()
    return {"Holdfast": __version__, "pgBackRest": peer.removeprefix("pgBackRest "), "Python": sys.version.split()[0]}
