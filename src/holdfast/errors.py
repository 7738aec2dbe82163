"""The tree of errors: every failure that a user may meet, with its exit code and what to do next.

::

    HoldfastError                  1   anything that went wrong and was understood
    ├── UsageError                 2   the command line or the configuration cannot be carried out
    │   └── ConfigError            2   the stack file is wrong (with line and column where known)
    ├── NoRepositoryError         10   the location holds no repository
    ├── BusyError                 11   another run holds what this one needs
    ├── KeyRefusedError           12   no key slot opens with this secret
    ├── TargetNotReachableError   13   the wanted state cannot be reached from what is stored
    ├── VerificationError         14   bytes are not what they should be
    │   └── DamageError           14   ... in the repository: names the object
    ├── StorageError               1   the storage refused or failed
    │   ├── NotFoundError          1   ... there is no such object
    │   ├── AlreadyExistsError     1   ... the object is there, and must not be
    │   ├── PermissionRefusedError 1   ... access was refused
    │   ├── NoSpaceError           1   ... it is full
    │   └── TransientStorageError  1   ... it may work if tried again
    ├── ServerError                1   PostgreSQL refused or failed
    │   └── ServerUnreachableError 1   ... it does not answer
    ├── OutputError                1   the results could not be written to standard output
    └── InterruptedRunError      130   stopped by a signal

Library errors are translated where they are caught (psycopg in ``postgres``, obstore and OSError in
``storage``), so nothing above these rooms knows the libraries' own classes. ``cli.main`` alone maps an error to
its exit code. Messages are lowercase, without a full stop; the hint says what to do next.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process ends with; documented in docs/reference/exit-codes.md."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PARTIAL = 3
    NO_REPOSITORY = 10
    BUSY = 11
    WRONG_KEY = 12
    TARGET_NOT_REACHABLE = 13
    VERIFICATION_FAILED = 14
    INTERRUPTED = 130


class HoldfastError(Exception):
    """Something went wrong and was understood.

    ``hint`` says what to do next, in one line; ``details`` are further lines (what is missing, what is damaged).
    """

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str | None = None, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details


class UsageError(HoldfastError):
    """The command line or the configuration asks for what cannot be carried out."""

    exit_code = ExitCode.USAGE


class ConfigError(UsageError):
    """The stack file is wrong."""


class NoRepositoryError(HoldfastError):
    """The location holds no repository."""

    exit_code = ExitCode.NO_REPOSITORY


class BusyError(HoldfastError):
    """Another run holds what this one needs."""

    exit_code = ExitCode.BUSY


class KeyRefusedError(HoldfastError):
    """No key slot opens with this secret, or the opened slot lacks the key that the work needs."""

    exit_code = ExitCode.WRONG_KEY


class TargetNotReachableError(HoldfastError):
    """The wanted state cannot be reached from what is stored."""

    exit_code = ExitCode.TARGET_NOT_REACHABLE


class VerificationError(HoldfastError):
    """Bytes are not what they should be."""

    exit_code = ExitCode.VERIFICATION_FAILED


class DamageError(VerificationError):
    """An object of the repository is damaged, missing, or not the one that its name says."""

    def __init__(self, object_name: str, reason: str, *, hint: str | None = None) -> None:
        what_next = hint or "run 'holdfast check --read-data' to see what it hits"
        super().__init__(f"{object_name}: {reason}", hint=what_next)
        self.object_name = object_name
        self.reason = reason


class StorageError(HoldfastError):
    """The storage refused or failed."""


class NotFoundError(StorageError):
    """There is no such object."""


class AlreadyExistsError(StorageError):
    """The object is there, and must not be."""


class PermissionRefusedError(StorageError):
    """The storage refused access."""


class NoSpaceError(StorageError):
    """The storage is full."""


class TransientStorageError(StorageError):
    """The storage failed in a way that may pass: worth trying again."""


class ServerError(HoldfastError):
    """PostgreSQL refused or failed."""


class ServerUnreachableError(ServerError):
    """PostgreSQL does not answer."""


class OutputError(HoldfastError):
    """The results could not be written to standard output; what they tell of was done."""


class InterruptedRunError(HoldfastError):
    """The run was stopped by a signal; what was stored is reused by the next one."""

    exit_code = ExitCode.INTERRUPTED


def reason_of(error: OSError) -> str:
    """Return why the operating system refused, as a message of ours goes on with it."""
    return (error.strerror or str(error) or "unknown error").lower()
