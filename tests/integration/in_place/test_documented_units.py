"""The units that the documentation gives, run, killed and stopped by a real systemd, word for word but for paths."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.integration.backup_restore.stack import wait_until
from tests.integration.in_place.services import archive, archived, owner
from tests.integration.in_place.units import NOTIFY
from tests.servers.installation import holdfast_directory

pytestmark = pytest.mark.slow

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"
DROP_IN = re.compile(r"`/etc/systemd/system/(?P<name>[^`]+)`:?\n\n```ini\n(?P<text>.*?)```", re.DOTALL)
TELL = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo %i >{file}'\n"


def documented(page):
    """The units on a page, by name."""
    return {found["name"]: found["text"] for found in DROP_IN.finditer((HOW_TO / page).read_text())}


def install(service, name, text):
    """Write a unit with the paths and the account of the test in place of those of the documentation."""
    settings = service.place / "spool" / "settings"
    for ours, theirs in {
        "/usr/local/bin/holdfast": holdfast_directory() / "holdfast",
        "/etc/holdfast": service.stack.directory,
        "/var/spool/holdfast/main/%i/settings": settings,
        "User=postgres": f"User={service.data.owner()}",
    }.items():
        text = text.replace(ours, str(theirs))
    if name.endswith(".service"):
        log = service.place / f"{name}.log"
        text = text.replace("[Service]", f"[Service]\nStandardOutput=append:{log}\nStandardError=append:{log}")
    service.systemd.write_unit(name, text)


@pytest.fixture
def service(make_unit):
    """A service that archives, with its stack file where the server's account can read it, and its credential not."""
    service = make_unit(NOTIFY)
    archive(service)
    service.told = service.place / "told"
    service.systemd.write_unit("tell-the-operator@.service", TELL.format(file=service.told))
    return service


def use_credential(service, name):
    """Let the stack open its repository by a credential that only root can read."""
    etc = service.place / "etc"
    etc.mkdir()
    secret = etc / name
    secret.write_text((service.stack.directory / "identity").read_text())
    secret.chmod(0o600)
    stack = service.stack
    stack.repository["identity"] = {"credential": name}
    stack.directory = etc
    stack.service["wal"] = {"spool": str(service.place / "spool")}
    stack.write()
    (etc / "identity").chmod(0o600)
    for path in (service.place / "spool", *(service.place / "spool").rglob("*")):
        owner().take_over(path)


def main_process(service, unit):
    return service.systemd.systemctl("show", "--property=MainPID", "--value", unit)


def newly_archived(service):
    """Complete a segment and wait until it is in the repository."""
    name = service.ask("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    service.sql("INSERT INTO item VALUES (0)", "SELECT pg_switch_wal()")
    wait_until(lambda: any(each.startswith(name) for each in archived(service)))


def lives_and_dies(service, unit):
    """The unit runs, is started again when it is killed, and stops in order when told."""
    service.systemd.systemctl("start", unit)
    first = main_process(service, unit)
    newly_archived(service)
    service.systemd.systemctl("kill", "--signal=SIGKILL", "--kill-who=main", unit)
    wait_until(lambda: service.systemd.state(unit) == "active" and main_process(service, unit) not in {"0", first})
    newly_archived(service)
    service.systemd.systemctl("stop", unit)
    assert service.systemd.state(unit) == "inactive"  # and not "failed": it ended with 0
    assert service.systemd.systemctl("show", "--property=ExecMainStatus", "--value", unit) == "0"


def test_wal_serve(service):
    install(service, "holdfast-wal@.service", (HOW_TO / "holdfast-wal@.service").read_text())
    lives_and_dies(service, "holdfast-wal@db.service")


def test_wal_receive(service):
    service.sql("ALTER SYSTEM SET archive_command = 'false'", "SELECT pg_reload_conf()")
    use_credential(service, "identity")
    for name, text in documented("receive-wal.md").items():
        install(service, name, text)
    lives_and_dies(service, "holdfast-receive@db.service")


def test_backup_by_service_and_timer(service):
    use_credential(service, "writer")
    units = documented("schedule.md")
    assert set(units) == {"holdfast-backup@.service", "holdfast-backup@.timer"}
    for name, text in units.items():
        install(service, name, text)
    snapshots = service.place / "repository" / "snapshots"
    before = len(list(snapshots.iterdir()))
    service.systemd.systemctl("start", "holdfast-backup@db.service")
    assert len(list(snapshots.iterdir())) == before + 1
    timer = "holdfast-backup@db.timer"
    service.systemd.systemctl("start", timer)
    next_run = service.systemd.systemctl("show", "--property=NextElapseUSecRealtime", "--value", timer)
    assert re.search(r" 02:[34]\d:\d\d ", next_run), next_run
    at_once = "[Timer]\nOnCalendar=\nRandomizedDelaySec=0\nOnActiveSec=1s\nAccuracySec=100ms\n"
    install(service, "holdfast-backup@.timer.d/soon.conf", at_once)
    service.systemd.systemctl("restart", timer)
    wait_until(lambda: len(list(snapshots.iterdir())) == before + 2)
    assert not service.told.exists()


def test_backup_that_fails_is_told(service):
    use_credential(service, "writer")
    for name, text in documented("schedule.md").items():
        install(service, name, text)
    (service.place / "repository" / "config").rename(service.place / "config")
    answer = service.systemd.run("systemctl", "start", "holdfast-backup@db.service")
    assert answer.returncode == 1
    wait_until(service.told.exists)
    wait_until(lambda: service.told.read_text() == "holdfast-backup@db.service\n")
