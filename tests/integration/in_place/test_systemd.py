"""A real systemd stops and starts the server of a restore in place: every kind of unit, one that does not start,
one that is started again by itself, and one that systemd has given up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.integration.backup_restore.stack import wait_until
from tests.integration.in_place.services import InstalledStack, Service
from tests.integration.in_place.test_kills import SELDOM_WELL
from tests.servers.systemd import Systemd, booted_systemd

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping

pytestmark = pytest.mark.slow

UNIT = "shop-db.service"

NOTIFY = """
[Service]
Type=notify
User={user}
ExecStart={bin}/postgres -D {data}
KillMode=mixed
KillSignal=SIGINT
TimeoutSec=infinity
"""
"""As the manual has it (section 19.3, "Starting the Database Server")."""
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


@dataclass
class UnitStack(InstalledStack):
    """A stack whose commands run where the units are."""

    entering: tuple[str, ...] = ()

    def _start(self, command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
        return super()._start([*self.entering, *command], environment)


@dataclass
class UnitService(Service):
    """A service whose server is a unit."""

    systemd: Systemd | None = None

    @property
    def state_of_unit(self) -> str:
        """What systemd says of it."""
        assert self.systemd is not None
        return self.systemd.state(UNIT)


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    with booted_systemd() as systemd:
        yield systemd


@pytest.fixture
def make_unit(make: Callable[..., Service], systemd: Systemd) -> Iterator[Callable[..., UnitService]]:
    """Make a service of a unit's text: one backup of 1,000 rows, and 2,000 rows now."""
    made: list[UnitService] = []

    def make_one(unit: str, refused_in_backup: bool = False, **restore: object) -> UnitService:
        plain = make(**{"server": {"systemd": UNIT}, "start_timeout": "20s", **restore})
        old = plain.stack
        stack = UnitStack(old.directory, old.connections, old.repository, old.service, systemd.entering)
        service = UnitService(plain.place, plain.binaries, stack, systemd)
        service.sql("CREATE TABLE item AS SELECT i AS id FROM generate_series(1, 1000) AS i")
        refused = service.data / "refused"
        if refused_in_backup:
            refused.touch()
        stack.backup()
        refused.unlink(missing_ok=True)
        service.sql("INSERT INTO item SELECT i FROM generate_series(1001, 2000) AS i")
        plain.stop()
        made.append(service)
        names = {"user": service.data.owner(), "bin": service.binaries.directory, "data": service.data}
        systemd.write_unit(UNIT, unit.format(place=service.place, **names))
        systemd.systemctl("start", UNIT)
        return service

    yield make_one
    for service in made:
        systemd.run("systemctl", "kill", "--signal=SIGKILL", UNIT)
        (service.data / "postmaster.pid").unlink(missing_ok=True)  # an id in there is another process out here


def rows(service):
    return service.ask("SELECT count(*) FROM item")


@pytest.mark.parametrize(
    "unit",
    [NOTIFY, NOTIFY + ALWAYS, FORKING, SIMPLE + ALWAYS],
    ids=KINDS,
)
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
