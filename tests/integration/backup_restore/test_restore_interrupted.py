"""Ctrl-C during a restore: nothing that could start is left, and the words say how to go on. Two at once do not."""

import signal

from tests.integration.backup_restore.clusters import ask, start_restored
from tests.integration.backup_restore.stack import kill, wait_until


def test_ctrl_c_says_how_to_go_on_and_that_goes_on(quiet_cluster, quiet_stack, make_cluster, shared_directory):
    quiet_stack.backup()
    quiet_stack.repository["limits"] = {"download": "200KiB"}  # time to interfere
    quiet_stack.write()
    target = shared_directory / "restored"
    child = quiet_stack.start("restore", "db", "--target", target)
    wait_until(lambda: (target / "base").exists() or child.poll() is not None)
    run = kill(child, signal.SIGINT)
    assert run.code == 130, str(run)
    assert str(target) in run.error["message"]
    assert "--resume" in run.error["hint"]
    assert not (target / "global" / "pg_control").exists()

    quiet_stack.repository.pop("limits")
    quiet_stack.write()
    assert quiet_stack.run("restore", "db", "--target", target).code == 2
    quiet_stack.succeed("restore", "db", "--target", target, "--resume")
    assert ask(start_restored(make_cluster, quiet_cluster, target), "SELECT count(*) FROM item") == 20000


def test_a_restore_that_is_still_at_work_is_not_gone_on_with(quiet_stack, shared_directory):
    """It would write into the files, and put back the control file, of a server that was started in the meantime."""
    quiet_stack.backup()
    quiet_stack.repository["limits"] = {"download": "200KiB"}
    quiet_stack.write()
    target = shared_directory / "restored"
    child = quiet_stack.start("restore", "db", "--target", target)
    wait_until(lambda: (target / "base").exists() or child.poll() is not None)
    second = quiet_stack.run("restore", "db", "--target", target, "--resume")
    kill(child, signal.SIGKILL)
    quiet_stack.repository.pop("limits")
    quiet_stack.write()
    assert (second.code, second.error["error"]) == (11, "BusyError"), str(second)
    quiet_stack.succeed("restore", "db", "--target", target, "--resume")
