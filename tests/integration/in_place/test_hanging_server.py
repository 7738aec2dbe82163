"""A server in service that hangs: whoever wants to replace it must not hang with it."""

import os
import signal
from contextlib import contextmanager

from holdfast.postgres.ping import is_taking_connections
from holdfast.services.postgres.activation import ActivationOptions, PostgresSwitch
from holdfast.services.postgres.health import Checks
from holdfast.services.postgres.server_commands import pg_ctl_commands


class Heard:
    """A Reporter that keeps what it is warned of."""

    def __init__(self):
        self.warnings = []

    def warning(self, text):
        self.warnings.append(text)


@contextmanager
def hanging(service):
    """Hold the process that writes checkpoints."""
    checkpointer = service.ask("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
    os.kill(checkpointer, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(checkpointer, signal.SIGCONT)


def switch(service, **limits):
    commands = pg_ctl_commands(service.binaries, service.data, service.place / "log", None, (60, 60))
    return PostgresSwitch(ActivationOptions(service.data, service.conninfo, commands, Checks({}, 60), **limits))


def test_a_checkpoint_that_is_never_done_is_told_and_gone_without(service):
    heard = Heard()
    with hanging(service):
        switch(service, flush_timeout_s=1).flush(heard)
    (warning,) = heard.warnings
    assert "wrote no checkpoint: the server did not answer within 1 s; it is stopped all the same" in warning
    switch(service).flush(heard)
    switch(service).stop()
    assert not is_taking_connections(service.conninfo)
    switch(service).flush(heard)  # nobody is there
    assert len(heard.warnings) == 1
    switch(service).start()
    assert service.ask("SELECT count(*) FROM item") == 2000
