"""A restore in place under pgbench load: how long the service is out, as Holdfast says and as a client sees it.

The client tries to connect all the time; what it sees is the longest while in which it could not.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from holdfast.postgres.account import server_account
from holdfast.postgres.ping import is_taking_connections

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.postgres.local import LocalCluster

_POLL_S = 0.01


@dataclass(frozen=True)
class Swap:
    """One exchange: seconds out of service as told and as seen, and of the whole command."""

    told_s: float
    seen_s: float
    whole_s: float


class Client:
    """A client that wants to be served, for the time of a ``with`` block."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._knock, daemon=True)
        self.longest_s = 0.0

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _knock(self) -> None:
        last = time.monotonic()
        while not self._is_over.is_set():
            if is_taking_connections(self._conninfo):
                self.longest_s = max(self.longest_s, time.monotonic() - last)
                last = time.monotonic()
            time.sleep(_POLL_S)


class InPlace:
    """A copy of the benchmark's cluster, as a service that is restored in place."""

    def __init__(self, directory: Path, cluster: LocalCluster) -> None:
        self.directory, self.cluster = directory / "in-place", cluster
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir()
        self.directory.chmod(0o755)
        self.owner = server_account(cluster.data_directory)
        self.owner.take_over(self.directory)
        self.data = self.directory / "data"
        self.options = f"-c unix_socket_directories={self.directory} -c listen_addresses="
        self.conninfo = f"host={self.directory} port=5432 user=postgres dbname=postgres"

    def prepare(self) -> None:
        """Back the benchmark's cluster up, and bring up a copy of it."""
        self._call(self.cluster.conninfo(), "init", "--unencrypted")
        self._call(self.cluster.conninfo(), "backup", "db")
        self._call(self.conninfo, "restore", "db", "--target", str(self.data))
        self.pg_ctl("-l", str(self.directory / "log"), "-o", self.options, "start")

    def pg_ctl(self, *words: str) -> None:
        """Call pg_ctl."""
        command = [str(self.cluster.binaries.program("pg_ctl")), "-D", str(self.data), "-w", *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **self.owner.child_identity())

    def swap(self, *words: str) -> Swap:
        """Exchange, under load, and measure."""
        began = time.monotonic()
        with self._load(), Client(self.conninfo) as client:
            messages = self._call(self.conninfo, "--json", "restore", "db", "--yes", *words)
        told = [message["outage_s"] for message in messages if message.get("outage_s") is not None]
        return Swap(told[-1], client.longest_s, time.monotonic() - began)

    def drop(self) -> None:
        """Delete the checkpoints."""
        self._call(self.conninfo, "restore", "db", "--drop-checkpoint", "--yes")

    @contextmanager
    def _load(self) -> Iterator[None]:
        """Write to the server until it goes away."""
        pgbench = str(self.cluster.binaries.program("pgbench"))
        command = [pgbench, "-n", "-c", "4", "-j", "2", "-T", "600", self.conninfo]
        load = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            load.terminate()
            load.wait()

    def _call(self, conninfo: str, *words: str) -> list[dict[str, Any]]:
        server = {"pg_ctl": {"log": str(self.directory / "log"), "options": self.options}}
        restore = {"server": server, "state": str(self.directory / "state"), "amcheck": False}
        content = {
            "stack": "bench",
            "repositories": {"main": {"url": str(self.directory / "repository"), "unencrypted": True}},
            "services": {"db": {"kind": "postgres", "connection": conninfo, "restore": restore}},
        }
        stack = self.directory / "holdfast.yaml"
        stack.write_text(yaml.safe_dump(content))
        command = [sys.executable, "-m", "holdfast", "-c", str(stack), *words]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.directory)}
        answer = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        if answer.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {answer.stdout}{answer.stderr}")
        return [json.loads(line) for line in answer.stdout.splitlines() if line.startswith("{")]


def measure_swap(directory: Path, cluster: LocalCluster, rounds: int) -> None:
    """Measure restores in place and undos, in turn; print a table."""
    service = InPlace(directory, cluster)
    swaps: dict[str, list[Swap]] = {"restore in place": [], "undo": []}
    try:
        service.prepare()
        for _ in range(rounds):
            swaps["restore in place"].append(service.swap())
            swaps["undo"].append(service.swap("--undo"))
            service.drop()
    finally:
        if (service.data / "postmaster.pid").exists():
            service.pg_ctl("-m", "immediate", "stop")
        shutil.rmtree(service.directory)
    print("\n| what | out of service, median s | largest | as a client sees it, largest | whole, median s |")
    print("| --- | --- | --- | --- | --- |")
    for name, found in swaps.items():
        told = [swap.told_s for swap in found]
        seen, whole = max(swap.seen_s for swap in found), statistics.median(swap.whole_s for swap in found)
        print(f"| {name} | {statistics.median(told):.2f} | {max(told):.2f} | {seen:.2f} | {whole:.1f} |")
