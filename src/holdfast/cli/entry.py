"""The console script: takes the short way for what PostgreSQL runs once per WAL segment, the full one for the rest.

``wal push`` and ``wal serve`` with ``--settings`` need neither typer nor the stack file: those cost
several times what the work itself costs. A command line that is not exactly of the known form goes the full way, which
knows every option and every complaint; both ways end in the same operations.
"""

from __future__ import annotations

import gc
import os
import resource
import sys

from holdfast.cli.streams import make_fit

TYPE_CHECKING = False  # see holdfast.wal.early
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from holdfast.errors import HoldfastError

_MODULES = {
    "push": "holdfast.operations.wal.cold_push",
    "serve": "holdfast.operations.wal.serve",
}
"""Where each command's ``run_short(service, operands, settings_file)`` is; it raises HoldfastError as operations do."""

_COLLECT_EVERY = 200_000
"""Objects between two searches for garbage cycles: with Python's 700 they take 40 ms of the imports, with 50,000 still
20. A command makes a few hundred that are garbage; this bounds what a resident one may gather."""


class ShortCall:
    """A command line of the short form; ``operands`` are what follows the service's name.

    A stack file named with ``-c`` is not kept: the settings remember which one they were made from. No tuple with names
    and no dataclass: making one imports more than there is time for.
    """

    __slots__ = ("command", "operands", "service", "settings")

    def __init__(self, command: str, service: str, operands: tuple[str, ...], settings: str) -> None:
        self.command, self.service, self.operands, self.settings = command, service, operands, settings


def run() -> NoReturn:
    """Run the command line of this process and end with its exit code."""
    make_fit()
    # Keys are in memory while this runs; servers that are started from here may still raise it again (pg_ctl -c).
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if "fetch" in sys.argv:
        from holdfast.cli.wal import recovering

        if recovering.is_wal_fetch(sys.argv[1:]):
            recovering.run(sys.argv[1:])
    call = parse_short(sys.argv[1:])
    if call is None:
        _run_in_full()
    gc.disable()  # a search for cycles while modules are imported costs a tenth of the call; serve turns it on again
    exit_code = _carry_out(call)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)  # all is closed by now; taking the modules apart would cost milliseconds


def _run_in_full() -> NoReturn:
    gc.set_threshold(_COLLECT_EVERY)
    from holdfast.cli.interruption import Interruption

    with Interruption() as interruption:  # before the rest is imported, which takes a while
        from holdfast.cli.main import run as run_in_full

        run_in_full(interruption)


def parse_short(arguments: Sequence[str]) -> ShortCall | None:
    """Return the call of ``[-c FILE] wal COMMAND SERVICE [OPERAND…] --settings FILE``; None for any other form."""
    options: dict[str, str] = {}
    words: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if word in {"-c", "--config", "--settings"}:
            options[word.lstrip("-")[0]] = next(rest, "")
        elif word.startswith("-"):
            return None
        else:
            words.append(word)
    if len(words) < 3 or words[0] != "wal" or words[1] not in _MODULES or not options.get("s"):
        return None
    return ShortCall(words[1], words[2], tuple(words[3:]), options["s"])


def _carry_out(call: ShortCall) -> int:
    try:
        _operation(call.command)(call.service, call.operands, call.settings)
    except KeyboardInterrupt:  # a server in the foreground, and what it runs, get Ctrl-C too: no traceback in its log
        from holdfast.errors import InterruptedRunError

        return _fail(InterruptedRunError("interrupted"))
    except Exception as error:  # noqa: BLE001 - the last line of defence: what nobody understood is a fault of ours
        return _fail(_understood(error))
    return 0


def _understood(error: Exception) -> HoldfastError:
    from holdfast.errors import HoldfastError

    if isinstance(error, HoldfastError):
        return error
    from holdfast.cli.invocation import Invocation
    from holdfast.cli.main import internal_error

    return internal_error(Invocation(verbose=1), error)


def _operation(command: str) -> Callable[[str, tuple[str, ...], str], None]:
    from importlib import import_module

    operation: Callable[[str, tuple[str, ...], str], None] = import_module(_MODULES[command]).run_short
    return operation


def _fail(error: HoldfastError) -> int:
    from holdfast.cli.output import TextOutput

    TextOutput().error(error)
    return error.exit_code
