"""Makes the three standard streams fit for a run that must not end because of who reads them.

A backup under cron or a service manager may find them closed, on a full disk, or at a terminal that is gone.
What goes to standard error is talk: where it cannot be written it is dropped, and the work goes on. What goes
to standard output is the result: where it cannot be written, the run says so and fails. A stream that is closed
would be worse than silent: the next file that is opened, perhaps one of the repository, would take its number.
"""

from __future__ import annotations

import io
import os
import sys

TYPE_CHECKING = False  # see holdfast.wal.early
if TYPE_CHECKING:
    from typing import TextIO

    from typing_extensions import Buffer

    from holdfast.errors import OutputError

_OPENED_AS = (os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)
"""How what is closed is opened: a result that is written to a closed standard output is an error, talk is not."""


def make_fit() -> None:
    """Open what is closed, and let this process write its results and its talk as the module says."""
    for number, mode in enumerate(_OPENED_AS):
        _open_if_closed(number, mode)
    sys.stdout = _text(_Results(1, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Talk(2, "w", closefd=False), sys.stderr)


class _Results(io.FileIO):
    """Standard output: all of it is written, or OutputError says why not; BrokenPipeError where nobody reads on."""

    def write(self, data: Buffer) -> int:
        try:
            while (written := super().write(data)) is None:  # somebody who shares the terminal made it non-blocking
                _wait_for_room(self)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _output_error(error) from error
        return written


class _Talk(io.FileIO):
    """Standard error: what cannot be written is dropped."""

    def write(self, data: Buffer) -> int:
        try:
            written = super().write(data)
        except OSError:
            written = None
        return memoryview(data).nbytes if written is None else written


def _wait_for_room(raw: io.FileIO) -> None:
    import select

    select.select([], [raw], [])


def _output_error(error: OSError) -> OutputError:
    from holdfast.errors import OutputError, reason_of

    return OutputError(
        f"cannot write to standard output: {reason_of(error)}",
        hint="what was done is done, and what it had to say is lost; add > /dev/null where nobody wants to know",
    )


def _open_if_closed(number: int, mode: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, mode)  # it takes the lowest number that is free, which is this one
        os.set_inheritable(number, True)


def _text(raw: io.FileIO, before: TextIO | None) -> io.TextIOWrapper:
    """Return a stream as Python makes them; a character that its encoding lacks is written as an escape sequence."""
    is_at_once = raw.isatty() or isinstance(raw, _Talk) or bool(getattr(before, "write_through", False))
    encoding = before.encoding if before else "utf-8"
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=is_at_once)
