"""The entry point: the table of commands, and the one place where an error becomes an exit code."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

import typer

from holdfast.cli.deferred import Command, Subcommands, build_group, parameters_of
from holdfast.cli.everywhere import show_version
from holdfast.cli.interruption import Interruption
from holdfast.cli.invocation import Invocation
from holdfast.cli.output import TextOutput
from holdfast.cli.shells import InstallCompletion, ShowCompletion, learn_to_complete
from holdfast.errors import ExitCode, HoldfastError, InterruptedRunError, OutputError, UsageError

if TYPE_CHECKING:
    from typer.core import TyperGroup

ABOUT = """Back up, restore and prove the data layer of a self-hosted product: PostgreSQL first.

The first steps: write holdfast.yaml (holdfast config generate), then holdfast init, holdfast backup SERVICE,
holdfast snapshots, holdfast restore SERVICE --target DIR, holdfast check."""

COMMANDS: dict[str, Command | Subcommands] = {
    "init": Command("holdfast.cli.init:init", "Make the repository that the stack file describes."),
    "backup": Command("holdfast.cli.backup:backup", "Back up one service."),
    "status": Command("holdfast.cli.status:status", "Show each service: last snapshot, window of recovery, alerts."),
    "snapshots": Command("holdfast.cli.snapshots:snapshots", "List the snapshots of a repository."),
    "restore": Command("holdfast.cli.restore:restore", "Restore a service, as of any instant."),
    "journal": Command("holdfast.cli.journal:journal", "List what was done to services in place, by whom."),
    "demo": Command("holdfast.cli.demo:demo", "Back up, destroy, restore and prove a throw-away PostgreSQL."),
    "show": Command("holdfast.cli.show:show", "Show all that is known of one snapshot."),
    "ls": Command("holdfast.cli.ls:ls", "List what a directory of a snapshot holds."),
    "find": Command("holdfast.cli.find:find", "Find a path in all snapshots."),
    "diff": Command("holdfast.cli.diff:diff", "Show what differs between two snapshots."),
    "dump": Command("holdfast.cli.dump:dump", "Write one file of a snapshot to standard output."),
    "stats": Command("holdfast.cli.stats:stats", "Measure what the backups hold and what they cost."),
    "check": Command("holdfast.cli.check:check", "Check that everything is there and is what was stored."),
    "doctor": Command("holdfast.cli.doctor:doctor", "Check everything that a backup and a restore will need."),
    "wal": Subcommands(
        "Archive every WAL segment, and find it again.",
        {
            "setup": Command("holdfast.cli.wal.setup:setup", "Make archiving ready, and print the server's settings."),
            "status": Command("holdfast.cli.wal.status:status", "Show what can be recovered, gaps, lag and the slot."),
            "adopt": Command("holdfast.cli.wal.adopt:adopt", "Let a restored cluster take over its origin's archive."),
            "push": Command("holdfast.cli.wal.push:push", "Store one WAL file: what archive_command runs."),
            "find": Command("holdfast.cli.wal.find:find", "Find the instant to recover to, in the archived WAL."),
            "fetch": Command("holdfast.cli.wal.fetch:fetch", "Fetch one WAL file: what restore_command runs."),
            "discard": Command("holdfast.cli.wal.discard:discard", "Delete bytes that were refused and kept apart."),
            "serve": Command("holdfast.cli.wal.serve:serve", "Ship WAL ahead of archive_command."),
            "receive": Command("holdfast.cli.wal.receive:receive", "Receive WAL from the server as it is written."),
        },
    ),
    "key": Subcommands(
        "Say who can open the repository.",
        {
            "list": Command("holdfast.cli.key:list_", "List the key slots of a repository."),
            "add": Command("holdfast.cli.key:add", "Add a passphrase, a recovery identity or a writer credential."),
            "remove": Command("holdfast.cli.key:remove", "Remove a key slot."),
        },
    ),
    "config": Subcommands(
        "Write, check and show the stack file.",
        {
            "generate": Command(
                "holdfast.cli.config:generate", "Ask the running server and write a commented stack file."
            ),
            "validate": Command(
                "holdfast.cli.config:validate", "Check the stack file, its secrets, and what it points to."
            ),
            "show": Command("holdfast.cli.config:show", "Print the stack file as it was understood, secrets masked."),
            "schema": Command("holdfast.cli.config:schema", "Print the JSON Schema of the stack file, for editors."),
        },
    ),
}


def build_app() -> TyperGroup:
    """Return the whole command line; no command's module is imported yet."""
    group = build_group("holdfast", ABOUT, COMMANDS)
    group.params.extend(parameters_of(_root))
    return group


def _root(
    version: bool = typer.Option(
        False, "--version", is_eager=True, expose_value=False, callback=show_version, help="Print the version."
    ),
    install_completion: InstallCompletion = None,
    show_completion: ShowCompletion = None,
) -> None:
    """Declare what only ``holdfast`` itself takes."""


def run(interruption: Interruption) -> NoReturn:
    """Run the command line of this process and end with its exit code."""
    # numpy's linear algebra, which nothing here uses, would start threads and take 30 MB for them at its import.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    exit_code = _conclude(sys.argv[1:], interruption)
    with suppress(BrokenPipeError, OutputError):
        sys.stdout.flush()
    # Everything is closed by now. Taking numpy and the rest apart would take 60 ms and free nothing but memory.
    os._exit(exit_code)


def main(arguments: list[str]) -> int:
    """Run one command line and return its exit code (docs/reference/exit-codes.md)."""
    with Interruption() as interruption:
        return _conclude(arguments, interruption)


def _conclude(arguments: list[str], interruption: Interruption) -> int:
    invocation = Invocation()
    try:
        with interruption.raised():
            exit_code = _carry_out(arguments, invocation)
            sys.stdout.flush()
    except HoldfastError as error:
        failure = error
    except typer.TyperException as error:
        failure = _usage_error(error)
        invocation.json = invocation.json or "--json" in arguments
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except KeyboardInterrupt:
        failure = _interrupted()
        invocation.json = invocation.json or "--json" in arguments  # the command line may not have been read yet
    except Exception as error:  # noqa: BLE001 - the last line of defence: what nobody understood is a fault of ours
        # Unless we were interrupted: extension modules make what they like of an exception that they did not expect.
        failure = _interrupted() if interruption.has_come else internal_error(invocation, error)
    else:
        return exit_code
    _tell(failure, invocation)
    return failure.exit_code


def _tell(failure: HoldfastError, invocation: Invocation) -> None:
    try:
        invocation.output.error(failure)
    except (BrokenPipeError, OutputError):  # JSON goes to standard output, which may be what failed
        TextOutput().error(failure)


def _carry_out(arguments: list[str], invocation: Invocation) -> int:
    learn_to_complete()
    try:
        outcome = build_app().main(arguments, prog_name="holdfast", standalone_mode=False, obj=invocation)
    except SystemExit as ended:  # typer does so, having completed a word or installed what completes words
        return int(ended.code or ExitCode.DONE)
    if outcome == ExitCode.INTERRUPTED:  # typer turns KeyboardInterrupt into this
        raise KeyboardInterrupt
    return outcome or ExitCode.DONE


def _interrupted() -> HoldfastError:
    return InterruptedRunError("interrupted", hint="run the same command again; what was stored is reused")


def _usage_error(error: typer.TyperException) -> UsageError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "holdfast"
    message = error.format_message().strip().rstrip(".")
    return UsageError(message[:1].lower() + message[1:], hint=f"try '{path} --help'")


def internal_error(invocation: Invocation, error: Exception) -> HoldfastError:
    """Describe a fault of ours; the traceback (never with the values of variables) only when asked for."""
    import traceback

    lines = traceback.format_exception(error) if invocation.verbose else []
    return HoldfastError(
        f"internal error: {type(error).__name__}",
        hint="this is a fault in holdfast: please report it, with what the same command prints with -v",
        details=tuple("".join(lines).splitlines()),
    )
