"""A service in place whose server is a unit of a real systemd, and a command line that runs where that does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.integration.in_place.services import InstalledStack, Service

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    from tests.servers.systemd import Systemd

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


@dataclass
class UnitStack(InstalledStack):
    """A stack whose commands run where the units are."""

    entering: tuple[str, ...] = ()

    def _start(self, command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
        return super()._start([*self.entering, *command], environment)


@dataclass
class UnitService(Service):
    """A service whose server is a unit."""

    systemd: Systemd

    @property
    def state_of_unit(self) -> str:
        """What systemd says of it."""
        return self.systemd.state(UNIT)

    def start(self) -> None:
        """Start the unit."""
        self.systemd.systemctl("start", UNIT)

    def stop(self, mode: str = "fast") -> None:
        """Stop the unit; that is always its own way of stopping."""
        self.systemd.systemctl("stop", UNIT)
