"""Acknowledgements, the server's queue, whose WAL it is, and the small files of a spool."""

from __future__ import annotations

import itertools
import os
import shlex
import stat
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import BusyError, ConfigError, HoldfastError, ServerError, StorageError
from holdfast.repository.keys import new_keyring
from holdfast.wal.archive_command import command_line, script
from holdfast.wal.ownership import MARKER_NAME, require_adopted, require_own
from holdfast.wal.queue import PushStateFile, Queue, Standing, queue_of, read_state, unanswered_files
from holdfast.wal.ready import in_order, is_written_after, waiting_files
from holdfast.wal.resident import Resident, is_served
from holdfast.wal.settings import SourceFile, WalSettings, WhenFull, is_stale, read_settings, source_of, write_settings
from holdfast.wal.spool import DIRECTORIES, Spool, clear_acknowledgements, make_spool

OURSELVES = (os.getuid(), os.getgid())
FIRST, SECOND = "000000010000000000000001", "000000010000000000000002"


def make_settings(spool: Path, **changes: object) -> WalSettings:
    """Return settings whose spool is in ``spool`` and whose cluster is beside it."""
    settings = WalSettings(
        stack="shop",
        service="db",
        system_identifier="7710580048371250305",
        segment_size=1 << 20,
        data_directory=str(spool.parent / "data"),
        repository_url="/srv/backups",
        repository_id="ab" * 16,
        storage_options={"region": "eu-central-1", "retry_deadline_s": 5.5},
        keyring=new_keyring().for_writer(),
        spool=str(spool),
        source=SourceFile("/etc/holdfast/holdfast.yaml", 1, 2),
        level=1,
        threads=2,
        queue_limit=3 << 20,
        when_full=WhenFull.KEEP,
        program=("holdfast", "-c", "/etc/holdfast/holdfast.yaml"),
    )
    return msgspec.structs.replace(settings, **changes)


@pytest.fixture
def settings(tmp_path: Path) -> WalSettings:
    """Settings with their spool made, and an empty cluster."""
    (tmp_path / "data/pg_wal/archive_status").mkdir(parents=True)
    made = make_settings(tmp_path / "spool")
    make_spool(made.spool, OURSELVES)
    return made


def wait_for(settings: WalSettings, *names: str) -> None:
    """Let files wait to be archived."""
    for name in names:
        for path in (f"{settings.data_directory}/pg_wal/{name}", f"{status(settings)}/{name}.ready"):
            open(path, "w").close()


def status(settings: WalSettings) -> str:
    """Return the directory of what waits."""
    return f"{settings.data_directory}/pg_wal/archive_status"


def test_settings_come_back_as_they_were(settings):
    write_settings(settings, OURSELVES)
    assert read_settings(f"{settings.spool}/settings") == settings
    assert stat.S_IMODE(os.stat(f"{settings.spool}/settings").st_mode) == 0o600
    assert repr(settings) == "WalSettings(shop/db)"
    assert os.listdir(settings.spool).count("settings") == len([n for n in os.listdir(settings.spool) if "set" in n])


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"format": 2}', b"[]"])
def test_settings_that_are_none(tmp_path, content):
    path = tmp_path / "settings"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_settings(str(path))
    assert "wal setup" in (caught.value.hint or "")


def test_settings_of_another_version(settings):
    write_settings(msgspec.structs.replace(settings, format=99), OURSELVES)
    with pytest.raises(ConfigError, match="version 99"):
        read_settings(f"{settings.spool}/settings")


def test_an_edited_stack_file_is_noticed(settings, tmp_path):
    path = tmp_path / "holdfast.yaml"
    path.write_text("stack: shop\n")
    present = msgspec.structs.replace(settings, source=source_of(str(path)))
    assert not is_stale(present)
    path.write_text("stack: shop \n")
    assert is_stale(present)
    path.unlink()
    assert not is_stale(present), "one that cannot be seen from here says nothing"


def test_an_acknowledgement_is_of_one_file_at_one_time(settings):
    spool = Spool(settings.spool, settings.repository_id)
    assert not spool.is_acknowledged(FIRST, 5)
    spool.acknowledge(FIRST, 1_700_000_000_123_456_789)
    spool.acknowledge(FIRST, 1_700_000_000_123_456_789)
    assert spool.is_acknowledged(FIRST, 1_700_000_000_123_456_789)
    assert not spool.is_acknowledged(FIRST, 1_700_000_000_123_456_788)
    assert not spool.is_acknowledged(SECOND, 1_700_000_000_123_456_789)
    assert not Spool(settings.spool, "cd" * 16).is_acknowledged(FIRST, 1_700_000_000_123_456_789)
    clear_acknowledgements(settings.spool)
    assert not spool.is_acknowledged(FIRST, 1_700_000_000_123_456_789)
    clear_acknowledgements(settings.spool)
    spool.acknowledge(SECOND, 7)
    assert spool.is_acknowledged(SECOND, 7)


def test_acknowledgements_are_forgotten_while_a_resident_process_makes_new_ones(settings):
    spool, is_done = Spool(settings.spool, settings.repository_id), threading.Event()

    def acknowledge_on_and_on() -> None:
        for number in itertools.count():
            if is_done.is_set():
                return
            with suppress(StorageError):  # between two of its steps the directory was put aside: it tries again
                spool.acknowledge(f"{number:024X}", 7)

    resident = threading.Thread(target=acknowledge_on_and_on)
    resident.start()
    try:
        for _ in range(20):
            time.sleep(0.02)
            clear_acknowledgements(settings.spool)
    finally:
        is_done.set()
        resident.join()
    clear_acknowledgements(settings.spool)
    assert sorted(os.listdir(settings.spool)) == ["fetched", "gaps"]


def test_an_acknowledgement_is_not_written_through_a_link(settings, tmp_path):
    spool = Spool(settings.spool, settings.repository_id)
    spool.acknowledge(SECOND, 7)
    (tmp_path / "victim").write_text("untouched")
    os.symlink(tmp_path / "victim", os.path.join(spool.ack_directory, FIRST))
    with pytest.raises(StorageError):
        spool.acknowledge(FIRST, 7)


def test_a_spool_is_not_made_through_a_link(tmp_path):
    make_spool(str(tmp_path / "spool"), OURSELVES)
    os.rmdir(tmp_path / "spool" / DIRECTORIES[0])
    os.symlink("/etc", tmp_path / "spool" / DIRECTORIES[0])
    with pytest.raises(StorageError):
        make_spool(str(tmp_path / "spool"), OURSELVES)


def test_the_queue_is_what_waits_unanswered_in_the_servers_order(settings):
    wait_for(settings, SECOND, FIRST, "00000002.history", f"{FIRST}.00000028.backup", "junk")
    open(f"{status(settings)}/000000010000000000000009.done", "w").close()
    spool = Spool(settings.spool, settings.repository_id)
    assert waiting_files(settings.data_directory) == ["00000002.history", FIRST, f"{FIRST}.00000028.backup", SECOND]
    paths = unanswered_files(settings, spool)
    assert queue_of(settings, paths) == Queue(4, 2 << 20, 3 << 20, "00000002.history")
    spool.acknowledge(FIRST, os.stat(f"{settings.data_directory}/pg_wal/{FIRST}").st_mtime_ns)
    assert FIRST not in [os.path.basename(path) for path in unanswered_files(settings, spool)]
    os.unlink(f"{settings.data_directory}/pg_wal/{FIRST}")
    spool.clean(f"{settings.data_directory}/pg_wal")
    assert os.listdir(spool.ack_directory) == []


def test_files_were_written_timeline_by_timeline_each_begun_by_its_history():
    written = [
        FIRST,
        f"{FIRST}.00000028.backup",
        SECOND,
        f"{SECOND}.partial",
        "00000002.history",
        f"00000002{SECOND[8:]}",
    ]
    written += ["0000000A.history", f"0000000A{FIRST[8:]}"]
    for number, name in enumerate(written):
        assert [is_written_after(name, other) for other in written] == [True] * number + [False] * (8 - number)


@given(st.lists(st.sampled_from(["00000002.history", "0000000A.history", FIRST, SECOND, f"{FIRST}.partial"])))
def test_history_files_come_first(names):
    ordered = in_order(names)
    kinds = [name.endswith(".history") for name in ordered]
    assert kinds == sorted(kinds, reverse=True)
    assert sorted(ordered) == sorted(names)


def test_a_cluster_that_is_gone(settings):
    with pytest.raises(ServerError, match="cannot see what waits"):
        waiting_files("/nowhere")


def test_the_state_keeps_when_it_began_to_fail(settings):
    assert read_state(settings.spool) is None
    file, standing = PushStateFile(settings.spool, "push"), Standing(Queue(9, 9 << 20, 3 << 20, FIRST), (SECOND,))
    file.tell_failure(FIRST, HoldfastError("away", hint="mount it"), standing)
    first = read_state(settings.spool)
    assert first is not None
    assert (first.failure.message, first.failure.file, first.is_full, first.gaps) == ("away", FIRST, True, (SECOND,))
    file.tell_failure(SECOND, HoldfastError("still away"), standing)
    second = read_state(settings.spool)
    assert (second.failure.since, second.failure.message) == (first.failure.since, "still away")
    file.tell_success(FIRST, Standing(None))
    last = read_state(settings.spool)
    assert (last.failure, last.last_file, last.is_full) == (None, FIRST, False)
    assert [name for name in os.listdir(settings.spool) if name.endswith(".new")] == []


def test_the_state_tells_of_a_path_that_is_no_text(settings):
    """The push ended with an internal error in place of its own."""
    file, name = PushStateFile(settings.spool, "push"), os.fsdecode(b"\xff")
    file.tell_failure(name, HoldfastError(f"not a WAL file: {name}", hint=name), Standing(None))
    told = read_state(settings.spool)
    assert told is not None
    assert (told.failure.message, told.failure.hint, told.failure.file) == ("not a WAL file: \\udcff", *["\\udcff"] * 2)


def test_the_marker_is_the_one_that_a_restore_leaves():
    from holdfast.restore import marker

    assert marker.MARKER_NAME == MARKER_NAME


@pytest.mark.parametrize(
    ("content", "may"),
    [
        (None, True),
        ('{"finished": "2026-11-20"}', False),
        ('{"adopted": ""}', False),
        ('{"adopted": "2026-11-20T14:03:00+00:00"}', True),
        ("", False),
        ("[]", False),
        ("\xff", False),
    ],
)
def test_fault_37_a_restored_cluster_waits_to_be_adopted(tmp_path, content, may):
    if content is not None:
        (tmp_path / MARKER_NAME).write_bytes(content.encode("latin-1"))
    if may:
        require_adopted(str(tmp_path))
    else:
        with pytest.raises(HoldfastError, match="was restored from a backup"):
            require_adopted(str(tmp_path))


def test_a_link_to_pg_wal_does_not_make_it_another_cluster(tmp_path):
    data, elsewhere = tmp_path / "data", tmp_path / "fast-disk"
    data.mkdir()
    elsewhere.mkdir()
    (data / "PG_VERSION").write_text("15\n")
    (data / "pg_wal").symlink_to(elsewhere)
    (tmp_path / "other").mkdir()
    require_own(str(data / "pg_wal" / FIRST), str(data))
    require_own(str(elsewhere / FIRST), str(data))
    with pytest.raises(ServerError, match="is of the cluster in"):
        require_own(str(data / "pg_wal" / FIRST), str(tmp_path / "other"))


def test_there_is_one_resident_and_it_can_be_woken(settings):
    assert not is_served(settings.spool)
    with Resident(settings.spool) as resident:
        assert is_served(settings.spool)
        assert Path(settings.spool, "serve.pid").read_text().split()[::2] == [str(os.getpid()), "failing"]
        with pytest.raises(BusyError, match=str(os.getpid())):
            Resident(settings.spool).__enter__()
        assert not resident.is_woken_within(0)
        resident.wake()
        assert resident.is_woken_within(5)
        open(f"{settings.spool}/stuck", "w").close()
        resident.tell_alive()
        assert not os.path.exists(f"{settings.spool}/stuck")
    assert not is_served(settings.spool)
    assert Path(settings.spool, "serve.pid").read_text() == ""


@pytest.mark.parametrize("name", ["plain", "with space", "it's", "50%p", 'quo"te', "$HOME;`id`"])
def test_the_script_takes_any_spool(settings, tmp_path, name):
    odd = msgspec.structs.replace(
        settings, spool=str(tmp_path / name), service="db", program=("/bin/echo", name), repository_id="ab" * 16
    )
    make_spool(odd.spool, OURSELVES)
    path = tmp_path / name / "archive"
    path.write_text(script(odd, odd.program))
    path.chmod(0o755)
    called = command_line(odd.spool).replace("%p", "pg_wal/x").replace("%f", "x").replace("%%", "%")
    if "%" in name:
        assert "%%" in command_line(odd.spool)
        called = shlex.quote(str(path)) + " pg_wal/x x"
    answer = subprocess.run(["/bin/sh", "-c", called], capture_output=True, text=True, check=True)
    assert answer.stdout == f"{name} wal push db pg_wal/x --settings {odd.spool}/settings\n"
    assert answer.stderr == ""


def test_fault_36_one_segment_costs_one_sync_of_data_and_a_few_of_directories(settings, monkeypatch, tmp_path):
    from tests.unit.wal.test_validate import IDENTIFIER, MIB, make_segment

    from holdfast.postgres.segment import parse_segment_name
    from holdfast.storage.files import FilesStorage
    from holdfast.wal.archive import WalArchive
    from holdfast.wal.ship import Shipper

    content = bytes(make_segment(parse_segment_name(FIRST, MIB)))
    path = tmp_path / FIRST
    path.write_bytes(content)
    ours = msgspec.structs.replace(settings, system_identifier=IDENTIFIER)
    archive = WalArchive(FilesStorage(str(tmp_path / "repository")), ours.keys(), IDENTIFIER)
    syncs: list[str] = []
    data, directory = os.fdatasync, os.fsync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (syncs.append("data"), data(fd)))
    monkeypatch.setattr(os, "fsync", lambda fd: (syncs.append("name"), directory(fd)))
    shipper = Shipper(ours, archive, Spool(settings.spool, settings.repository_id))
    shipper.ship_ahead(str(path))
    assert syncs.count("data") == 1
    assert syncs.count("name") <= 5  # the directories that the first segment makes
    syncs.clear()
    shipper.ship_ahead(str(path))
    assert syncs == []
