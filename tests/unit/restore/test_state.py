"""What is remembered of a service: whole records, one run at a time, a journal whose lines are only added."""

import msgspec
import pytest

from holdfast.errors import BusyError, HoldfastError, UsageError
from holdfast.restore.checkpoint import (
    Checkpoint,
    choose_checkpoint,
    delete_parked,
    read_checkpoints,
    record_checkpoint,
)
from holdfast.restore.exchange import Parked
from holdfast.restore.journal import append, ended, new_entry, read_journal
from holdfast.restore.state import StateDirectory


class Record(msgspec.Struct, frozen=True):
    text: str


@pytest.fixture
def state(tmp_path):
    return StateDirectory(tmp_path / "state" / "shop" / "db")


def test_records(state):
    assert state.read("a.json", Record) is None
    assert state.names("many") == []
    state.write("a.json", Record("ä"))
    state.write("many/b.json", Record("b"))
    state.write("many/a.json", Record("a"))
    assert state.read("a.json", Record) == Record("ä")
    assert state.names("many") == ["many/a.json", "many/b.json"]
    state.remove("a.json")
    state.remove("a.json")
    assert state.read("a.json", Record) is None
    assert (state.path / "many" / "a.json").stat().st_mode & 0o777 == 0o600
    assert state.path.stat().st_mode & 0o777 == 0o700


def test_a_damaged_record_is_no_missing_one(state):
    state.write("a.json", Record("a"))
    (state.path / "a.json").write_text('{"tex')
    with pytest.raises(HoldfastError, match="cannot be read"):
        state.read("a.json", Record)


def test_one_run_at_a_time(state):
    with state.locked(), pytest.raises(BusyError), StateDirectory(state.path).locked():
        pass
    with state.locked():
        pass


def entry(number):
    return new_entry(f"{number:032x}", "shop", "db", "undo", "/data")


def test_a_journal_tells_each_deed_by_its_last_line(state):
    assert read_journal(state) == []
    append(state, entry(1))
    append(state, entry(2))
    append(state, ended(entry(1), "done", outage_s=1.23456))
    first, second = read_journal(state)
    assert (first.result, first.outage_s, bool(first.ended)) == ("done", 1.235, True)
    assert (second.result, second.ended) == ("begun", "")
    assert len((state.path / "journal.jsonl").read_text().splitlines()) == 3


def test_deeds_of_one_second_keep_their_order():
    deeds = [entry(number) for number in range(50, 0, -1)]
    assert sorted(deeds, key=lambda deed: (deed.begun, deed.id)) == deeds


def test_a_line_that_a_power_cut_left_half_spoils_no_other(state):
    append(state, entry(1))
    with (state.path / "journal.jsonl").open("ab") as file:
        file.write(b'{"id":"half')
    append(state, entry(2))
    assert [each.id for each in read_journal(state)] == [entry(1).id, entry(2).id]


def test_the_account_behind_sudo_is_named(state, monkeypatch):
    monkeypatch.setenv("SUDO_USER", "mara")
    assert "sudo by mara" in entry(1).who


def checkpoint(number, directory):
    return Checkpoint(
        id=f"{number:032x}",
        number=number,
        stack="shop",
        service="db",
        made=f"2026-11-21T10:00:0{9 - number}.000+00:00",  # the clock is set back now and then
        until="restore",
        home="/data",
        parked=Parked(directory=str(directory)),
    )


def test_the_newest_checkpoint_is_meant(state, tmp_path):
    for number in (2, 1, 3):
        record_checkpoint(state, checkpoint(number, tmp_path / str(number)))
    assert [each.id[-1] for each in read_checkpoints(state)] == ["1", "2", "3"]
    assert choose_checkpoint(state, None).id[-1] == "3"
    assert not choose_checkpoint(state, None).is_present


def test_a_checkpoint_is_meant_by_how_its_id_begins(state, tmp_path):
    with pytest.raises(UsageError, match="no checkpoint of this service"):
        choose_checkpoint(state, None)
    for number in (1, 2):
        record_checkpoint(state, msgspec.structs.replace(checkpoint(number, tmp_path), id=f"{number}{'0' * 31}"))
    record_checkpoint(state, msgspec.structs.replace(checkpoint(3, tmp_path), id=f"13{'0' * 30}"))
    assert choose_checkpoint(state, "2").id[0] == "2"
    for asked, words in (("1", "are several"), ("4", "is no checkpoint"), ("", "is no checkpoint")):
        with pytest.raises(UsageError, match=words) as caught:
            choose_checkpoint(state, asked)
        assert "10000000" in caught.value.hint


def test_only_what_has_our_name_is_deleted(tmp_path):
    ours, theirs = tmp_path / "data.holdfast-checkpoint-0123", tmp_path / "data"
    theirs.mkdir()
    (theirs / "precious").touch()
    ours.mkdir()
    (ours / "link").symlink_to(theirs)
    delete_parked(Parked(directory=str(ours)))
    assert not ours.exists()
    with pytest.raises(HoldfastError, match="not deleted"):
        delete_parked(Parked(directory=str(theirs)))
    assert (theirs / "precious").exists()
