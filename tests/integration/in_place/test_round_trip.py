"""A restore in place brings back what was backed up, keeps what was there, and can be taken back."""

import pytest

from holdfast.config.load import load_stack
from holdfast.errors import HoldfastError
from holdfast.operations.in_place.undo import prepare_undo, undo
from holdfast.progress import Silence


def test_restored_and_undone_and_undone_again(service):
    done = service.stack.succeed("restore", "db", "--yes").message("restored_in_place")
    assert service.ask("SELECT count(*) FROM item") == 1000
    assert (service.timeline, 0 < done["outage_s"] < 60) == (2, True)  # a second, where nobody else works
    assert len(service.checkpoints) == 1
    assert not service.leftovers

    service.sql("INSERT INTO item VALUES (9999)")
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 2000
    assert service.timeline == 1
    assert len(service.checkpoints) == 1

    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 1001
    assert service.timeline == 2

    service.stack.succeed("restore", "db", "--drop-checkpoint", "--yes")
    assert not service.checkpoints
    assert service.stack.run("restore", "db", "--undo", "--yes").code == 2


def test_an_undo_brings_back_what_the_checks_are_not_content_with(make):
    """They tell that the restore was needed; who wants the state after the loss back has seen that."""
    service = make(checks={"postgres": ["SELECT count(*) > 0 FROM item"]})
    service.sql("CREATE TABLE item AS SELECT 1 AS id")
    service.stack.backup()
    service.sql("CREATE TABLE since AS SELECT 2 AS id", "DROP TABLE item")
    service.stack.succeed("restore", "db", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 1
    run = service.stack.succeed("restore", "db", "--undo", "--yes")
    assert 'relation "item" does not exist; what was put back is in service' in run.message("warning")["text"]
    assert service.ask("SELECT count(*) FROM since") == 1
    assert service.stack.succeed("journal").messages[-1]["result"] == "done"


def test_after_two_restores_either_checkpoint_comes_back_or_goes(service):
    service.stack.succeed("restore", "db", "--yes")
    service.sql("INSERT INTO item VALUES (9999)")
    service.stack.succeed("restore", "db", "--yes")
    status = service.stack.run("status").message("service_status")
    first, second = (each["id"] for each in status["checkpoints"])
    assert (
        service.stack.run("restore", "db", "--undo", "--checkpoint", "zz", "--yes").error["hint"].endswith(second[:8])
    )

    service.stack.succeed("restore", "db", "--undo", "--checkpoint", first[:8], "--yes")
    assert service.ask("SELECT count(*) FROM item") == 2000
    service.stack.succeed("restore", "db", "--undo", "--checkpoint", second[:8], "--yes")
    assert service.ask("SELECT count(*) FROM item") == 1001
    newest = service.stack.run("status").message("service_status")["checkpoints"][-1]["id"]
    service.stack.succeed("restore", "db", "--drop-checkpoint", "--checkpoint", newest, "--yes")
    assert len(service.checkpoints) == 1
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert service.ask("SELECT count(*) FROM item") == 1000


def test_an_undo_that_was_planned_before_another_restore_is_refused(service):
    service.stack.succeed("restore", "db", "--yes")
    planned = prepare_undo(load_stack(service.stack.config), "db")
    service.stack.succeed("restore", "db", "--yes")
    with pytest.raises(HoldfastError, match="another run changed the checkpoints"):
        undo(planned, Silence())
    assert len(service.checkpoints) == 2
    assert not service.leftovers
