"""``holdfast ls``: what a directory of a snapshot holds."""

from __future__ import annotations

import stat
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import typer

from holdfast.cli.invocation import Invocation
from holdfast.cli.parameters import LatestOf, SnapshotId

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.repository.manifest import Entry


def ls(
    ctx: typer.Context,
    snapshot: SnapshotId,
    path: str = typer.Argument("", help="A directory or file of the snapshot; without it, the whole."),
    long: bool = typer.Option(False, "-l", "--long", help="Show mode, owner, size and time of each."),
    recursive: bool = typer.Option(False, "-R", "--recursive", help="Show what is below, at any depth."),
    service: LatestOf = "",
) -> None:
    """List what a directory of a snapshot holds."""
    from holdfast.operations.listing import SnapshotChoice, list_directory, list_tree, open_snapshot
    from holdfast.repository.names import typed

    run = Invocation.of(ctx)
    stack = run.stack()
    opened = open_snapshot(stack, SnapshotChoice(snapshot, service, run.repository))
    entries = (list_tree if recursive else list_directory)(opened, typed(path))
    words: Callable[[Entry], str] = _long_words if long else _short_words
    for entry in entries:
        run.output.emit("entry", entry_message(entry), partial(words, entry))


def entry_message(entry: Entry) -> dict[str, object]:
    """Return the JSON message ``entry``."""
    return {
        "path": entry.path,
        "kind": kind_name(entry),
        "mode": f"{entry.mode:04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "user": entry.user,
        "group": entry.group,
        "size_bytes": entry.size,
        "mtime_ns": entry.mtime_ns,
        "link": entry.link or None,
        "xattrs": sorted(entry.xattrs),
    }


def kind_name(entry: Entry) -> str:
    """Return what a path is, as messages say it: ``file``, ``directory``, ``hard_link``."""
    return entry.kind.name.lower()


def modified(mtime_ns: int) -> str:
    """Return a time of modification in local time, to the second."""
    return f"{datetime.fromtimestamp(mtime_ns // 10**9).astimezone():%Y-%m-%d %H:%M:%S}"


def _short_words(entry: Entry) -> str:
    from holdfast.repository.names import shown

    return shown(entry.path) + ("/" if kind_name(entry) == "directory" else "")


def _long_words(entry: Entry) -> str:
    from holdfast.repository.names import shown

    owner = f"{entry.user or entry.uid}:{entry.group or entry.gid}"
    link = f" -> {shown(entry.link)}" if entry.link else ""
    facts = f"{_mode(entry)} {owner:<17} {entry.size:>12} {modified(entry.mtime_ns)}"
    return f"{facts} {shown(entry.path)}{link}"


def _mode(entry: Entry) -> str:
    """Return the mode as ls(1) writes it; a hard link is a file."""
    types = {
        "directory": stat.S_IFDIR,
        "symlink": stat.S_IFLNK,
        "fifo": stat.S_IFIFO,
        "socket": stat.S_IFSOCK,
    }
    return stat.filemode(types.get(kind_name(entry), stat.S_IFREG) | entry.mode)
