"""WAL summaries as a hint: what they leave unread is as on disk, and what they miss is reported (FAULTS 28)."""

from __future__ import annotations

import json
import random
import subprocess
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import psycopg
import pytest
from tests.integration.backup_restore.clusters import ask, make_least_role, sql
from tests.integration.backup_restore.stack import StackDirectory
from tests.integration.cli.calling import validator
from tests.integration.incremental.frozen import FrozenChain
from tests.integration.incremental.workload import World, adopt_copy, forget, make_template
from tests.servers.postgres import ClusterFactory, account, postgres_binaries, temporary_clusters

from holdfast import clock
from holdfast.errors import ServerError
from holdfast.postgres.datadir import classify
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.server import Server
from holdfast.repository import parent
from holdfast.services.postgres.capture import PostgresOptions, PostgresService
from holdfast.services.postgres.summary_hint import ask_summaries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.postgres.local import LocalCluster
    from holdfast.repository.snapshot import Snapshot

MAJORS = (17, 18)
ROUNDS = 5
WEEK, AT_ONCE = timedelta(days=7), timedelta(microseconds=1)
SETTINGS = {
    "autovacuum": "off",
    "bgwriter_lru_maxpages": "0",  # nothing but checkpoints writes, so that files hold still after a backup
    "min_wal_size": "2MB",
    "max_wal_size": "64MB",
    "shared_buffers": "16MB",
    "summarize_wal": "on",
}


@pytest.fixture(scope="module")
def templates() -> Iterator[dict[int, Path]]:
    """Stopped clusters with some tables, page checksums and WAL summaries, by major version."""
    with temporary_clusters() as factory:
        yield {major: make_template(factory, major, SETTINGS, has_checksums=True) for major in MAJORS}


class LiveChain(FrozenChain):
    """Backs up a running server to whose files nobody writes meanwhile."""

    def follow(self, cluster: LocalCluster, rehash_every: timedelta = WEEK) -> Snapshot:
        """Back up; what the snapshot has of relations must be what is on disk."""
        snapshot = self.leave_to(cluster, rehash_every)
        self.require_as_on_disk(snapshot, cluster.data_directory, is_relation)
        return snapshot

    def leave_to(self, cluster: LocalCluster, rehash_every: timedelta = WEEK) -> Snapshot:
        """Back up as the summaries will have it."""
        return self.take(PostgresService(PostgresOptions(cluster.conninfo(), "test", rehash_every=rehash_every)))


def is_relation(path: bytes) -> bool:
    """Whether a file holds pages."""
    return classify(path).relation is not None


@contextmanager
def started(templates: dict[int, Path], major: int, name: str) -> Iterator[World]:
    """Start a copy of a template."""
    template = templates[major]
    world = World(
        adopt_copy(template, postgres_binaries(major), template.with_name(f"live-{name}")), random.Random(name)
    )
    world.cluster.start()
    try:
        yield world
    finally:
        forget(world)


def is_followed(snapshot: Snapshot) -> bool:
    """Whether pages were left unread."""
    return bool(snapshot.facts["wal_summaries"].startswith("followed"))


@pytest.mark.parametrize(
    ("major", "seed"),
    [
        *((major, seed) for major in MAJORS for seed in range(2)),
        *(pytest.param(major, seed, marks=pytest.mark.slow) for major in MAJORS for seed in range(100, 160)),
    ],
)
def test_fault_28_what_summaries_leave_unread_is_as_on_disk(
    major: int, seed: int, templates: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = LiveChain(tmp_path / "cache")
    with started(templates, major, f"{major}-{seed}") as world:
        if world.chance.random() < 0.5:
            monkeypatch.setattr(parent, "_GRAIN_NS", -(10**18))
        try:
            for _ in range(ROUNDS):
                with psycopg.connect(world.cluster.conninfo(), autocommit=True) as connection:
                    world.do_some(connection)
                chain.follow(world.cluster)
                if world.chance.random() < 0.2:
                    suffer(world)
                    assert not is_followed(chain.follow(world.cluster))
                    chain.follow(world.cluster)
            snapshot = chain.follow(world.cluster, AT_ONCE)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {', '.join(world.done)}: {error}") from error
    assert any(map(is_followed, chain.snapshots))
    assert snapshot.facts["missed_page_count"] == 0
    assert not snapshot.warnings


def suffer(world: World) -> None:
    """Do something to the cluster while it is stopped."""
    with Server.connect(world.cluster.conninfo()) as server:
        world.facts = server.probe()
    world.cluster.stop()
    world.suffer()
    world.cluster.start()


def update(cluster: LocalCluster, start: int) -> None:
    """Write to some pages of one table, here and there, without a checkpoint after it."""
    sql(cluster, f"UPDATE a SET n = -n WHERE id % 2000 = {start}")


@pytest.mark.parametrize("major", MAJORS)
def test_pages_that_are_not_named_are_not_read(major: int, templates: dict[int, Path], tmp_path: Path) -> None:
    chain = LiveChain(tmp_path / "cache")
    with started(templates, major, f"read-{major}") as world:
        whole = chain.follow(world.cluster)
        assert whole.facts["wal_summaries"].startswith("not followed: there is nothing to compare with")
        read = []
        for number in range(3):
            update(world.cluster, number)
            followed = chain.follow(world.cluster)
            assert is_followed(followed)
            assert followed.facts["changed_page_count"] > 0
            read.append(followed.stats.bytes_read)
        size = int(ask(world.cluster, "SELECT pg_relation_size('a')"))
        tested = chain.follow(world.cluster, AT_ONCE)
    assert read[-1] < tested.stats.bytes_read - size * 3 // 4
    assert tested.facts["wal_summaries"].startswith("put to the test")
    assert tested.facts["missed_page_count"] == 0
    assert tested.facts["followed_since"] != ""


def summarize(cluster: LocalCluster) -> None:
    """Let the server make a summary of all so far."""
    sql(cluster, "CHECKPOINT")
    is_made = "SELECT bool_or(end_lsn >= redo_lsn) FROM pg_available_wal_summaries(), pg_control_checkpoint()"
    deadline = clock.monotonic() + 90
    while not ask(cluster, is_made):
        assert clock.monotonic() < deadline, cluster.log()
        clock.sleep(0.02)


def summaries(cluster: LocalCluster) -> list[Path]:
    """The files, oldest first."""
    return sorted((cluster.data_directory / "pg_wal" / "summaries").glob("0*.summary"))


def forge(cluster: LocalCluster) -> None:
    """Let the last summaries say what the first one says, which knows nothing of later tables."""
    first, *_, last = summaries(cluster)
    last.write_bytes(first.read_bytes())


@pytest.mark.parametrize("major", MAJORS)
def test_fault_28_pages_that_a_forged_summary_leaves_out_are_reported(
    major: int, templates: dict[int, Path], tmp_path: Path
) -> None:
    chain = LiveChain(tmp_path / "cache")
    with started(templates, major, f"forged-{major}") as world:
        chain.follow(world.cluster)
        chain.follow(world.cluster)
        update(world.cluster, 7)
        summarize(world.cluster)
        forge(world.cluster)
        wrong = chain.leave_to(world.cluster)
        assert is_followed(wrong)
        with pytest.raises(AssertionError, match=r"pages \["):
            chain.require_as_on_disk(wrong, world.root, is_relation)
        path = ask(world.cluster, "SELECT pg_relation_filepath('a')")
        stale = differing_pages(chain, wrong, world.root, path)
        assert len(stale) > 1

        tested = chain.follow(world.cluster, AT_ONCE)
        missed = {(page["relation"], page["block"]) for page in tested.facts["missed_pages"] if page["path"] == path}
        assert missed == {("public.a", block) for block in stale}
        assert tested.facts["missed_page_count"] == len(tested.facts["missed_pages"])
        assert any(f"postgres: public.a ({path}) block {stale[0]}" in warning for warning in tested.warnings)
        assert tested.is_complete
        assert tested.is_clean
        assert is_followed(chain.follow(world.cluster, AT_ONCE))


def leave_pages_out(chain: LiveChain, world: World) -> None:
    """Let a snapshot have pages as they were before; the files hold still afterwards."""
    chain.follow(world.cluster)
    update(world.cluster, 7)
    summarize(world.cluster)
    forge(world.cluster)
    snapshot = chain.leave_to(world.cluster)
    assert is_followed(snapshot)
    assert snapshot.facts["followed_since"] != ""
    with pytest.raises(AssertionError, match=r"pages \["):
        chain.require_as_on_disk(snapshot, world.root, is_relation)


@pytest.mark.parametrize("is_followed_next", [True, False])
def test_fault_28_pages_left_out_come_back_where_the_cache_is_lost(
    is_followed_next: bool, templates: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that looks unchanged since then must not be taken as the snapshot before has it."""
    monkeypatch.setattr(parent, "_GRAIN_NS", -(10**18))
    chain = LiveChain(tmp_path / "cache")
    with started(templates, 18, f"lost-{is_followed_next}") as world:
        leave_pages_out(chain, world)
        for path in chain.page_caches:
            path.unlink()
        rehash_every = WEEK if is_followed_next else None
        snapshot = chain.take(PostgresService(PostgresOptions(world.cluster.conninfo(), "test", None, rehash_every)))
        chain.require_as_on_disk(snapshot, world.root, is_relation)
        assert snapshot.facts["followed_since"] == ""


def test_fault_28_pages_left_out_come_back_in_time_where_summaries_cannot_be_tested(
    templates: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parent, "_GRAIN_NS", -(10**18))
    chain = LiveChain(tmp_path / "cache")
    with started(templates, 18, "due") as world:
        leave_pages_out(chain, world)
        restart(world.cluster)
        snapshot = chain.follow(world.cluster, AT_ONCE)
        assert "the server was started since" in snapshot.facts["wal_summaries"]
        assert snapshot.facts["followed_since"] == ""


def test_fault_28_a_server_that_was_put_back_while_it_ran_is_not_believed(
    templates: dict[int, Path], tmp_path: Path
) -> None:
    """A virtual machine restored with its memory says the same of itself as before, but is elsewhere in its WAL."""
    with started(templates, 18, "put-back") as world, Server.connect(world.cluster.conninfo()) as server:
        facts = server.probe()
        taken = {"server_started": facts.started, "start_lsn": "0/1000000", "stop_lsn": "FFFFFFFF/0"}
        before = LiveChain(tmp_path / "cache").leave_to(world.cluster)
        later = parent.Parent(msgspec.structs.replace(before, facts={**before.facts, **taken}), {})
        with pytest.raises(ServerError, match="the last backup ended at") as caught:
            ask_summaries(world.cluster.conninfo(), facts, later, Lsn.parse("0/2000000"))
        assert caught.value.hint


def differing_pages(chain: FrozenChain, snapshot: Snapshot, root: Path, path: str) -> list[int]:
    """Return the numbers of the pages of a file that are not as on disk."""
    ((_, found),) = chain.contents(snapshot, lambda name: name == path.encode())
    disk = (root / path).read_bytes()
    return [at // 8192 for at in range(0, len(disk), 8192) if disk[at : at + 8192] != found[at : at + 8192]]


@pytest.mark.parametrize("major", MAJORS)
def test_fault_28_zero_pages_where_a_table_was_cut_off_and_grew_again(
    major: int, templates: dict[int, Path], tmp_path: Path
) -> None:
    """COPY adds many pages at once, of which no WAL tells until rows come to lie in them."""
    chain = LiveChain(tmp_path / "cache")
    with started(templates, major, f"cut-{major}") as world:
        chain.follow(world.cluster)
        before = int(ask(world.cluster, "SELECT pg_relation_size('b')"))
        sql(world.cluster, "DELETE FROM b WHERE id > 15000", "VACUUM b")
        with psycopg.connect(world.cluster.conninfo(), autocommit=True) as connection:
            with connection.cursor().copy("COPY b FROM STDIN") as copy:
                for number in range(3000):
                    copy.write_row((number, "again"))
            path = world.root / ask(world.cluster, "SELECT pg_relation_filepath('b')")
        sql(world.cluster, "CHECKPOINT")
        content = path.read_bytes()
        zeros = [at for at in range(0, min(before, len(content)), 8192) if not any(content[at : at + 8192])]
        assert zeros, "the server left no page empty"
        assert is_followed(chain.follow(world.cluster))
        assert chain.follow(world.cluster, AT_ONCE).facts["missed_page_count"] == 0


def lose_one(cluster: LocalCluster) -> None:
    """Remove the summary before the last."""
    summaries(cluster)[-2].unlink()


def corrupt_one(cluster: LocalCluster) -> None:
    """Damage a summary that is needed."""
    last = summaries(cluster)[-1]
    last.write_bytes(last.read_bytes()[:-1] + b"!")


def switch_off(cluster: LocalCluster) -> None:
    """Stop summarizing."""
    sql(cluster, "ALTER SYSTEM SET summarize_wal = off", "SELECT pg_reload_conf()")
    while ask(cluster, "SHOW summarize_wal") == "on":
        pass


def restart(cluster: LocalCluster) -> None:
    """Stop and start the server, between which anything may happen."""
    cluster.stop()
    cluster.start()


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize(
    ("mishap", "reason"),
    [
        (lose_one, "no summary covers the WAL from"),
        (corrupt_one, "reading a WAL summary"),
        (switch_off, "summarize_wal is off"),
        (restart, "the server was started since"),
    ],
)
def test_fault_28_summaries_that_may_not_be_followed_are_not_and_it_is_said(
    major: int, mishap, reason: str, templates: dict[int, Path], tmp_path: Path
) -> None:
    chain = LiveChain(tmp_path / "cache")
    with started(templates, major, f"{mishap.__name__}-{major}") as world:
        chain.follow(world.cluster)
        for number in range(2):
            update(world.cluster, number)
            summarize(world.cluster)
        mishap(world.cluster)
        snapshot = chain.follow(world.cluster)
        assert snapshot.facts["wal_summaries"].startswith("not followed: ")
        assert reason in snapshot.facts["wal_summaries"]
        size = int(ask(world.cluster, "SELECT pg_relation_size('a')"))
        assert snapshot.stats.bytes_read > size


def test_ignoring_summaries_again_reads_every_page_once(
    templates: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parent, "_GRAIN_NS", -(10**18))
    chain = LiveChain(tmp_path / "cache")
    with started(templates, 18, "ignored") as world:
        chain.follow(world.cluster)
        update(world.cluster, 1)
        summarize(world.cluster)
        forge(world.cluster)
        assert is_followed(chain.leave_to(world.cluster))
        ignoring = PostgresService(PostgresOptions(world.cluster.conninfo(), "test"))
        first, second = chain.take(ignoring), chain.take(ignoring)
        chain.require_as_on_disk(first, world.root, is_relation)
        assert first.facts["wal_summaries"] == ""
        assert second.stats.bytes_read < first.stats.bytes_read


@pytest.mark.parametrize(
    ("major", "settings", "has_checksums", "reason"),
    [
        (15, {}, True, "PostgreSQL 15 has none"),
        (17, {"summarize_wal": "on"}, False, "page checksums are off"),
        (18, {}, True, "summarize_wal is off"),
        (18, {"summarize_wal": "on", "hot_standby": "on"}, True, "the server is a standby"),
    ],
)
def test_summaries_that_cannot_be_followed_are_told_of_before_and_by_each_backup(
    major: int, settings: dict[str, str], has_checksums: bool, reason: str, make_cluster: ClusterFactory, tmp_path: Path
) -> None:
    cluster = make_cluster(postgres_binaries(major), settings=settings, has_checksums=has_checksums)
    if "hot_standby" in settings:
        become_standby(cluster)
    stack = StackDirectory(tmp_path, {"db": cluster.conninfo()}, service={"wal_summaries": "hint"})
    validated = [each for each in stack.succeed("config", "validate").messages if "WAL" in json.dumps(each)]
    assert reason in json.dumps(validated)
    stack.succeed("init")
    findings = [each for each in stack.succeed("doctor").messages if reason in json.dumps(each)]
    assert any(each["state"] == "warning" and "summaries" in each["words"] for each in findings)
    stack.backup()
    assert f"not followed: {reason}" in stack.backup()["facts"]["wal_summaries"]


def become_standby(cluster: LocalCluster) -> None:
    """Let it wait for WAL of a primary that there is not."""
    cluster.stop()
    (cluster.data_directory / "standby.signal").touch()
    account().take_over(cluster.data_directory / "standby.signal")
    cluster.start()


def test_summaries_that_can_be_followed_need_no_more_than_the_least_privileges(
    make_cluster: ClusterFactory, tmp_path: Path
) -> None:
    cluster = make_cluster(postgres_binaries(17), settings={"summarize_wal": "on"}, has_checksums=True)
    make_least_role(cluster, "least")
    least = {"wal_summaries": "hint", "connection": cluster.conninfo(user="least")}
    stack = StackDirectory(tmp_path, {"db": ""}, service=least)
    stack.succeed("init")
    findings = [each for each in stack.succeed("doctor").messages if each.get("words", "").startswith("WAL summaries")]
    assert [each["state"] for each in findings] == ["ok"]
    stack.backup()
    made = stack.succeed("backup", "db").message("snapshot_made")
    validator("snapshot_made").validate(made)
    assert made["facts"]["wal_summaries"].startswith("followed")
    words = subprocess.run(
        stack.command("show"), env=stack.environment, capture_output=True, text=True, check=True
    ).stdout
    assert "WAL summaries     followed: pages that they do not name were not read" in words
