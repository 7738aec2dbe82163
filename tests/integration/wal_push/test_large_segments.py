"""Segments of 1 GiB, the largest that PostgreSQL has: memory stays within 300 MB wherever one passes through.

Also beside busy processes: what keeps memory small must not depend on when its turn comes.
"""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from tests.integration.backup_restore.clusters import ask, sql
from tests.integration.backup_restore.stack import wait_until
from tests.integration.wal_push.archiving import Archiving
from tests.servers.installation import holdfast_directory
from tests.servers.postgres import ClusterFactory, account, postgres_binaries
from tests.servers.versitygw import VersityGateway, repository_section

from holdfast.postgres.local import LocalCluster, StopMode
from holdfast.wal.names import object_name, piece_name
from holdfast.wal.restore_command import SPOOL_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SEGMENT_BYTES = 1 << 30
LIMIT_KIB = 300_000_000 // 1024
SETTINGS = {
    "archive_mode": "on",
    "archive_command": "false",
    "autovacuum": "off",
    "min_wal_size": "2GB",
    "max_wal_size": "4GB",
}
PART_BYTES = 8 << 20
BUSY = 3


@pytest.fixture
def place():
    """A directory on a disk: /tmp may be memory."""
    directory = Path(tempfile.mkdtemp(prefix="holdfast-large-", dir="/var/tmp"))
    directory.chmod(0o755)
    account().take_over(directory)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def cluster(place):
    """A cluster with segments of 1 GiB."""
    factory = ClusterFactory(place)
    yield factory(postgres_binaries(15), wal_segment_size_bytes=SEGMENT_BYTES, settings=SETTINGS)
    factory.close()


@pytest.fixture
def busy():
    """Processes that take what they can get of the machine, as long as the test runs."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY)]
    yield
    for each in spinning:
        each.kill()
        each.wait()


def fill_segment(cluster) -> str:
    """Write nearly a whole segment of WAL that does not compress, complete it, and return its name."""
    name = ask(cluster, "SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        for _ in range(SEGMENT_BYTES // PART_BYTES - 8):
            connection.execute("SELECT pg_logical_emit_message(false, 'fill', %b)", [os.urandom(PART_BYTES)])
    assert ask(cluster, "SELECT pg_walfile_name(pg_switch_wal())") == name
    return name


def peak_of(shop: Archiving, *arguments: object, **identity: object) -> int:
    """Run the command line; return its largest memory in KiB.

    It is asked for while it runs: what the system says afterwards counts this very process as it was at the fork.
    """
    command = [str(holdfast_directory() / "holdfast"), "-c", str(shop.stack.config), *map(str, arguments)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, cwd=shop.directory, env=shop.stack.environment, **identity
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, peak_now(process.pid))
        time.sleep(0.01)
    assert process.returncode == 0, (process.returncode, arguments)
    return peak


def peak_now(pid: int) -> int:
    """Return the largest memory of a running process until now, in KiB; 0 when it has ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return max((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), default=0)


def supplied_peak(shop: Archiving, name: str) -> int:
    """Fetch as a recovering server does, through a process that stays; return its largest memory in KiB."""
    path = shop.wal_directory / "RECOVERYXLOG"
    assert peak_of(shop, "wal", "fetch", "db", name, path) < LIMIT_KIB
    pid = int((path.parent / SPOOL_NAME / "pid").read_text())
    peak = peak_now(pid)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    assert_same(path, shop.wal_directory / name)
    return peak


def assert_same(one: Path, other: Path) -> None:
    """Compare without holding either in memory."""
    subprocess.run(["cmp", one, other], check=True)


@contextmanager
def archiving(kind: str, cluster: LocalCluster, place: Path) -> Iterator[Archiving]:
    """Set archiving up, and let the server keep its WAL."""
    with VersityGateway(place / "s3") as gateway:
        shop = Archiving(cluster, place, remote=repository_section(gateway, place) if kind == "s3" else {})
        shop.set_up()
        shop.archive_by("false")
        yield shop


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("kind", ["files", "s3"])
def test_a_segment_of_1_gib_passes_in_bounded_memory(place, cluster, kind):
    with archiving(kind, cluster, place) as shop:
        name = fill_segment(cluster)
        with shop.serving() as process:
            wait_until(lambda: shop.is_acknowledged(name), timeout_s=240)
            peaks = {"serve": peak_now(process.pid)}
        pushing = ["wal", "push", "db", shop.salvaged(name), "--settings", shop.spool / "settings"]
        peaks["push again"] = peak_of(shop, *pushing, **account().child_identity())
        shop.stack.open().storage.delete(object_name(shop.settings.system_identifier, name))
        peaks["push"] = peak_of(shop, *pushing, **account().child_identity())
        peaks["fetch"] = peak_of(shop, "wal", "fetch", "db", name, place / "fetched")
        assert_same(place / "fetched", shop.wal_directory / name)
        peaks["supply"] = supplied_peak(shop, name)
        peaks["check"] = peak_of(shop, "check", "--read-data")
    print(kind, {what: f"{peak >> 10} MiB" for what, peak in peaks.items()})
    assert max(peaks.values()) < LIMIT_KIB, peaks


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("kind", ["files", "s3"])
def test_the_beginning_of_a_segment_of_1_gib_is_fetched_in_bounded_memory(place, cluster, kind):
    with archiving(kind, cluster, place) as shop:
        name = fill_segment(cluster)
        path, archive = shop.wal_directory / name, shop.archive()
        with mapped(path) as whole:
            for begin, end in pairwise(range(0, SEGMENT_BYTES // 2, SEGMENT_BYTES // 8)):
                archive.push(piece_name(name, begin, end), whole[begin:end])
            peaks = {"pieces": peak_of(shop, "wal", "fetch", "db", name, place / "fetched")}
            require_beginning(place / "fetched", path, end)
            archive.push(f"{name}.partial", whole)
        peaks["partial"] = peak_of(shop, "wal", "fetch", "db", name, place / "fetched")
        assert_same(place / "fetched", path)
    print(kind, {what: f"{peak >> 10} MiB" for what, peak in peaks.items()})
    assert max(peaks.values()) < LIMIT_KIB, peaks


@contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """Give a file's content."""
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory,
        memoryview(memory) as view,
    ):
        yield view


def require_beginning(part: Path, whole: Path, length_bytes: int) -> None:
    """The beginning of a file is that of another, and only zeros follow it."""
    assert part.stat().st_size == whole.stat().st_size
    subprocess.run(["cmp", "-n", str(length_bytes), part, whole], check=True)
    rest = ["cmp", "-i", f"{length_bytes}:0", "-n", str(SEGMENT_BYTES - length_bytes), part, "/dev/zero"]
    subprocess.run(rest, check=True)


def test_a_recovery_through_segments_of_1_gib_takes_bounded_memory(place, cluster):
    shop = Archiving(cluster, place)
    shop.set_up()
    shop.stack.backup()
    shop.give_repository()
    # copied at once, before a checkpoint takes one away
    paths = [shop.salvaged(fill_segment(cluster)), shop.salvaged(fill_segment(cluster))]
    sql(cluster, "CREATE TABLE proof AS SELECT 'it is there' AS words")
    paths.append(shop.salvaged(ask(cluster, "SELECT pg_walfile_name(pg_switch_wal())")))
    for path in paths:
        pushing = ["wal", "push", "db", path, "--settings", shop.spool / "settings"]
        peak_of(shop, *pushing, **account().child_identity())
    shutil.rmtree(place / "salvaged")
    ours = ask(cluster, "SELECT xmin FROM pg_class WHERE relname = 'proof'")
    cluster.stop(StopMode.IMMEDIATE)
    target = place / "recovered"
    peaks = peaks_of_family(shop, "restore", "db", "--target", target, "--to", "latest")
    peaks["find"] = peak_of(shop, "wal", "find", "--service", "db", "--xid", ours)
    print({what: f"{peak >> 10} MiB" for what, peak in peaks.items()})
    assert max(peaks.values()) < LIMIT_KIB, peaks
    with LocalCluster(postgres_binaries(15), target, account=account()) as recovered:
        assert ask(recovered, "SELECT words FROM proof") == "it is there"


def peaks_of_family(shop: Archiving, *arguments: object) -> dict[str, int]:
    """Run the command line; return the largest memory in KiB of each Holdfast process that it came to, by its words."""
    command = [str(holdfast_directory() / "holdfast"), "-c", str(shop.stack.config), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=shop.directory, env=shop.stack.environment)
    peaks: dict[str, int] = {}
    while process.poll() is None:
        for pid, words in holdfast_processes(shop.stack.config):
            with suppress(FileNotFoundError, ProcessLookupError):
                peaks[words] = max(peaks.get(words, 0), peak_now(pid))
        time.sleep(0.05)
    assert process.returncode == 0, (process.returncode, arguments)
    return peaks


def holdfast_processes(config: Path) -> Iterator[tuple[int, str]]:
    """Yield the processes that run Python for this stack, or for the directory it lies in."""
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if "python" in os.path.basename(os.readlink(place / "exe")) and str(config.parents[1]) in words:
                yield int(place.name), words
