"""Servers that stop, or start anew, while they send: said in one line, nothing committed, and then all works again."""

import pytest
from tests.integration.backup_restore.clusters import require_free
from tests.integration.backup_restore.stack import At
from tests.servers.postgres import postgres_binaries

from holdfast.errors import ServerUnreachableError
from holdfast.postgres import base_backup
from holdfast.postgres.local import StopMode


@pytest.mark.parametrize(
    ("phase", "mode", "libpq_reads"),
    [
        ("copying files", StopMode.FAST, False),
        ("copying files", StopMode.IMMEDIATE, False),
        ("copying files", StopMode.IMMEDIATE, True),
        ("copying WAL", StopMode.FAST, False),
        ("copying WAL", StopMode.IMMEDIATE, True),
    ],
)
def test_server_that_starts_anew_in_the_midst(phase, mode, libpq_reads, make_cluster, make_stack, monkeypatch):
    """libpq reads where connections are encrypted."""
    cluster = make_cluster(postgres_binaries(15), settings={"autovacuum": "off"})
    stack = make_stack(cluster)
    if libpq_reads:
        monkeypatch.setattr(base_backup, "is_readable", lambda _: False)

    def start_anew():
        cluster.stop(mode)
        cluster.start()

    with pytest.raises(ServerUnreachableError) as caught:
        stack.back_up_here(At(phase, start_anew))
    assert caught.value.hint
    assert stack.snapshots() == []
    stack.check()
    require_free(cluster)
    stack.backup()
