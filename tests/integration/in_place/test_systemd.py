"""A real systemd stops and starts the server of a restore in place: every kind of unit, one that does not start,
one that is started again by itself, and one that systemd has given up."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.backup_restore.stack import wait_until
from tests.integration.in_place.test_kills import SELDOM_WELL
from tests.integration.in_place.units import NOTIFY, UNIT

pytestmark = pytest.mark.slow

ETC = "/etc/postgresql/15/shop"
FORKING = """
[Service]
Type=forking
User={user}
PIDFile={data}/postmaster.pid
ExecStart={bin}/pg_ctl -D {data} -l {place}/log -w start
ExecStop={bin}/pg_ctl -D {data} -m fast -w stop
"""
SIMPLE = """
[Service]
Type=exec
User={user}
ExecStart={bin}/postgres -D {data}
KillSignal=SIGINT
"""
ALWAYS = "Restart=always\nRestartSec=50ms\n"
GIVES_UP = "[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=4\n"
DIES = SIMPLE.replace("ExecStart=", "ExecStart=/bin/sh -c 'sleep 0.3; ! test -e {data}/refused && exec \"$$@\"' sh ")
"""As ``SIMPLE``, but of a cluster with that file it is only seen later that it does not start."""
REFUSES = "ExecStartPre=/bin/sh -c '! test -e {data}/refused'\n"
"""Does not start a cluster in which there is this file."""
HANGS = "ExecStop=/bin/sh -c '! test -e {data}/refused || pkill -STOP -P $MAINPID -f checkpointer'\n"
"""A server of such a cluster does not get its shutdown done."""
KINDS = {"notify": NOTIFY, "notify-always": NOTIFY + ALWAYS, "forking": FORKING, "exec-always": SIMPLE + ALWAYS}


def rows(service):
    return service.ask("SELECT count(*) FROM item")


@pytest.mark.parametrize("unit", KINDS.values(), ids=KINDS)
def test_unit_is_stopped_and_started_by_restore_and_undo(make_unit, unit):
    service = make_unit(unit)
    done = service.stack.succeed("restore", "db", "--yes").message("restored_in_place")
    assert rows(service) == 1000
    assert service.state_of_unit == "active"
    assert done["outage_s"] < 20
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert rows(service) == 2000
    assert service.state_of_unit == "active"
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert rows(service) == 1000
    service.stack.succeed("restore", "db", "--drop-checkpoint", "--yes")
    assert not service.checkpoints


@pytest.mark.parametrize("unit", KINDS.values(), ids=KINDS)
def test_unit_that_does_not_start_is_put_back(make_unit, unit):
    service = make_unit(unit + REFUSES, refused_in_backup=True)
    run = service.stack.run("restore", "db", "--yes")
    assert run.code == 1, str(run)
    assert "the command that starts the server ended with 1: systemctl start" in run.error["message"]
    assert rows(service) == 2000
    assert service.state_of_unit == "active"
    assert not service.checkpoints


def test_unit_that_systemd_has_given_up_is_put_back(make_unit):
    service = make_unit(GIVES_UP + DIES + ALWAYS, refused_in_backup=True, start_timeout="5s")
    run = service.stack.run("restore", "db", "--yes")
    assert run.code == 1, str(run)
    assert "the server takes no connections 5 s after it was started" in run.error["message"]
    assert any("is back in" in detail for detail in run.error["details"]), str(run)
    assert rows(service) == 2000
    assert service.state_of_unit == "active"


def test_server_of_a_failed_unit_is_restored_and_started(make_unit):
    service = make_unit(GIVES_UP + DIES + ALWAYS)
    (service.data / "refused").touch()
    service.systemd.run("systemctl", "restart", UNIT)
    wait_until(lambda: service.state_of_unit == "failed")
    service.stack.succeed("restore", "db", "--yes")
    assert rows(service) == 1000
    assert service.state_of_unit == "active"


def test_unit_that_systemd_does_not_know_is_told_and_the_server_goes_on(make_unit):
    service = make_unit(NOTIFY, stop_timeout="3s")
    service.stack.service["restore"]["server"] = {"systemd": "another.service"}
    service.stack.write()
    run = service.stack.run("restore", "db", "--yes")
    assert run.code == 1, str(run)
    assert any("Unit another.service not loaded" in detail for detail in run.error["details"]), str(run)
    assert rows(service) == 2000
    assert service.state_of_unit == "active"


def test_restored_server_that_hangs_as_it_stops_is_ended_by_systemctl_kill(make_unit):
    service = make_unit(NOTIFY + HANGS, refused_in_backup=True, checks=SELDOM_WELL, stop_timeout="15s")
    run = service.stack.run("restore", "db", "--yes")
    assert run.code == 1, str(run)
    assert "unix_socket_directories" in run.error["message"]
    assert any("is back in" in detail for detail in run.error["details"]), str(run)
    assert rows(service) == 2000
    assert service.state_of_unit == "active"


def test_unit_of_debian_is_stopped_and_started_by_restore_and_undo(make_unit):
    service, unit = make_unit(NOTIFY), "postgresql@15-shop.service"
    service.stop()
    lay_out_as_debian(service)
    service.systemd.write_unit("postgresql@.service", Path("/lib/systemd/system/postgresql@.service").read_text())
    service.stack.service["restore"]["server"] = {"systemd": unit}
    service.stack.write()
    service.systemd.systemctl("start", unit)
    service.stack.succeed("restore", "db", "--yes")
    assert rows(service) == 1000
    assert service.systemd.state(unit) == "active"
    service.stack.succeed("restore", "db", "--undo", "--yes")
    assert rows(service) == 2000
    assert service.systemd.state(unit) == "active"
    service.systemd.systemctl("stop", unit)
    assert not service.is_up


def lay_out_as_debian(service):
    """Put the configuration where Debian has it, in a directory that only those processes see."""
    files = {
        "postgresql.conf": f"data_directory = '{service.data}'\nhba_file = '{ETC}/pg_hba.conf'\n"
        f"unix_socket_directories = '{service.place / 'socket'}'\nlisten_addresses = ''\n"
        "external_pid_file = '/run/postgresql/15-shop.pid'\nautovacuum = off\nfsync = off\n",
        "pg_hba.conf": (service.data / "pg_hba.conf").read_text(),
    }
    owner = f"{service.data.owner()}:"
    commands = [["mount", "-t", "tmpfs", "tmpfs", "/etc/postgresql"], ["mkdir", "-p", ETC, "/run/postgresql"]]
    commands += [["sh", "-c", 'printf %s "$1" >"$0"', f"{ETC}/{name}", text] for name, text in files.items()]
    commands += [["chown", "-R", owner, "/etc/postgresql/15", "/run/postgresql"]]
    for command in commands:
        answer = service.systemd.run(*command)
        assert answer.returncode == 0, answer.stderr
