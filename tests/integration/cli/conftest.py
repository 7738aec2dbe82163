"""One small real cluster, backed up twice into one repository, for every command that looks at what is there.

Commands run inside the test process, by the same ``main`` that the console script calls: fast, and with all of the
command line. Each JSON message is held against its published schema.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from tests.integration.backup_restore.clusters import make_place, sql
from tests.integration.backup_restore.stack import StackDirectory
from tests.integration.cli.calling import Run, Shop
from tests.servers.postgres import postgres_binaries, temporary_clusters

from holdfast.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def shop() -> Iterator[Shop]:
    """A cluster with a tablespace, backed up, changed, and backed up again. No test changes it or the repository."""
    with temporary_clusters() as factory:
        cluster = factory(postgres_binaries(15), settings={"autovacuum": "off"})
        place = make_place(factory.directory, "space")
        sql(cluster, f"CREATE TABLESPACE fast LOCATION '{place}'")
        sql(cluster, "CREATE TABLE item TABLESPACE fast AS SELECT i, md5(i::text) FROM generate_series(1, 5000) AS i")
        sql(cluster, "CHECKPOINT")
        stack = StackDirectory(make_place(factory.directory, "stack"), {"db": cluster.conninfo()})
        stack.succeed("init")
        first = stack.backup("db", "--tag", "before")
        sql(cluster, "CREATE TABLE later AS SELECT i FROM generate_series(1, 1000) AS i", "CHECKPOINT")
        second = stack.backup("db", "--tag", "after")
        yield Shop(cluster, stack, first, second)


@pytest.fixture
def call(monkeypatch, capsysbinary) -> Callable[..., Run]:
    """Return a function that runs the command line for a stack: ``call(stack, "show", "latest")``."""

    def run(stack: StackDirectory, *arguments: object) -> Run:
        monkeypatch.setenv("XDG_CACHE_HOME", stack.environment["XDG_CACHE_HOME"])
        capsysbinary.readouterr()
        code = main(["-c", str(stack.config), *map(str, arguments)])
        shown = capsysbinary.readouterr()
        err = shown.err.decode()
        assert "Traceback" not in err, err
        assert "internal error" not in err + shown.out.decode("utf-8", "replace"), err
        return Run(code, shown.out, err)

    return run


@pytest.fixture
def ask(shop: Shop, call: Callable[..., Run]) -> Callable[..., Run]:
    """Return a function that runs a command on the shop; it must end with 0."""

    def run(*arguments: object) -> Run:
        answer = call(shop.stack, *arguments)
        assert answer.code == 0, answer
        return answer

    return run


@pytest.fixture
def copied_stack(shop: Shop, tmp_path: Path) -> StackDirectory:
    """A copy of the shop's repository, to be changed and damaged."""
    shutil.copytree(shop.stack.place, tmp_path / "copy" / "repository")
    return StackDirectory(tmp_path / "copy", shop.stack.connections)
