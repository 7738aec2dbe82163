"""``holdfast show``: all that is known of one snapshot."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from holdfast.cli import text
from holdfast.cli.backup import snapshot_message
from holdfast.cli.completion import snapshot_ids
from holdfast.cli.invocation import Invocation
from holdfast.cli.parameters import LatestOf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.repository.snapshot import Snapshot
    from holdfast.services.postgres.facts import PostgresFacts

_TITLE_WIDTH = 18
_CHANGES_SHOWN = 15
Line = tuple[str, str]
"""A title and what is said under it; an empty title goes on with the line before."""


def show(
    ctx: typer.Context,
    snapshot: str = typer.Argument("latest", help="The snapshot, by its first digits.", autocompletion=snapshot_ids),
    service: LatestOf = "",
) -> None:
    """Show all that is known of one snapshot: facts of the service, sizes, timings, warnings, each corrupt page."""
    from holdfast.operations.snapshots import show_snapshot

    run = Invocation.of(ctx)
    found = show_snapshot(run.stack(), run.repository, snapshot, service)
    words = _words(found)  # also for JSON, as it raises DamageError for facts that cannot be
    run.output.emit("snapshot", snapshot_message(found), lambda: words)


def _words(snapshot: Snapshot) -> str:
    from holdfast.repository.names import shown

    lines = [*_general(snapshot), *_stats(snapshot), *_facts(snapshot), *_warnings(snapshot)]
    # names of databases and tablespaces may hold what a terminal must not see
    return "\n".join(f"{title:<{_TITLE_WIDTH}}{shown(os.fsencode(words))}".rstrip() for title, words in lines)


def _general(snapshot: Snapshot) -> Iterator[Line]:
    complete = "complete" if snapshot.is_complete else "INCOMPLETE: what the warnings name is missing"
    clean = "" if snapshot.is_clean else ", CORRUPT SOURCE: the service itself is damaged"
    yield "snapshot", snapshot.id
    yield "service", f"{snapshot.service} ({snapshot.kind}) of stack {snapshot.stack}, on host {snapshot.host}"
    yield "started", text.when(snapshot.started)
    yield "ended", text.when(snapshot.ended)
    yield "state", complete + clean
    yield "encryption", "encrypted" if snapshot.is_encrypted else "NOT ENCRYPTED"
    yield "parent", snapshot.parent or "none: every file was read"
    yield "tags", ", ".join(snapshot.tags) or "none"
    yield "written by", f"holdfast {snapshot.tool_version}"


def _stats(snapshot: Snapshot) -> Iterator[Line]:
    stats = snapshot.stats
    chunks = text.count(stats.new_chunks, "chunk")
    yield "size", f"{text.size(stats.size_bytes)} in {text.count(stats.files, 'file')}"
    yield "read", f"{text.size(stats.bytes_read)} in {text.count(stats.files_read, 'file')}"
    yield "new", f"{text.size(stats.new_plain_bytes)} in {chunks}, stored as {text.size(stats.stored_bytes)}"
    yield "time", ", ".join(f"{phase} {text.duration(seconds)}" for phase, seconds in stats.seconds.items())


def _facts(snapshot: Snapshot) -> Iterator[Line]:
    """Facts of a kind that is known here in words; of any other kind as they are stored."""
    if snapshot.kind != "postgres":
        yield from ((str(title), str(words)) for title, words in snapshot.facts.items())
        return
    from holdfast.services.postgres.facts import from_facts

    yield from _postgres(from_facts(snapshot.facts, snapshot.object_name))


def _postgres(facts: PostgresFacts) -> Iterator[Line]:
    yield "server", f"PostgreSQL {facts.version}, {'a standby' if facts.is_standby else 'a primary'}"
    place = f", in {facts.data_directory}" if facts.data_directory else ""
    yield "cluster", f"system identifier {facts.system_identifier}{place}"
    yield "timeline", str(facts.timeline)
    yield "start LSN", facts.start_lsn
    yield "stop LSN", f"{facts.stop_lsn} (recovery from it must reach this)"
    if facts.stop_time:
        yield "stop time", f"{text.when(facts.stop_time)} (by the server's clock)"
    yield "WAL inside", f"{', '.join(facts.wal_segments)} (wal_level {facts.wal_level})"
    segment = text.size(facts.wal_segment_size)
    encoding = facts.encoding or "not known"
    yield "shape", f"blocks of {text.size(facts.block_size)}, WAL segments of {segment}, encoding {encoding}"
    yield "page checksums", "on" if facts.has_data_checksums else "OFF: damage on disk cannot be noticed"
    yield "databases", ", ".join(facts.databases) or "not known: the catalog could not be asked"
    yield "tablespaces", "" if facts.tablespaces else "none of its own"
    for space in facts.tablespaces:
        place = f"{space.location} (in place)" if space.is_in_place else space.location
        yield "", f"{space.name} (oid {space.oid}): {place}"
    yield from _changes(facts)
    if facts.wal_summaries:
        yield "WAL summaries", facts.wal_summaries
    if facts.missed_page_count is not None:
        yield "", f"changed pages that they did not name: {facts.missed_page_count:,}"
    yield "corrupt pages", "" if facts.corrupt_pages else "none found"
    for page in facts.corrupt_pages:
        yield "", f"{page.path} block {page.block}, LSN {page.lsn}"


def _changes(facts: PostgresFacts) -> Iterator[Line]:
    """Where pages changed since the parent: the relations with most of them."""
    if facts.changed_page_count is None:
        return
    from holdfast.services.postgres.activity import name_in_words

    yield "changed pages", f"{facts.changed_page_count:,} of files that are compared by page"
    for each in facts.changed_pages[:_CHANGES_SHOWN]:
        yield "", f"{each.pages:,}  {name_in_words(each)}"
    if len(facts.changed_pages) > _CHANGES_SHOWN:
        yield "", f"and {len(facts.changed_pages) - _CHANGES_SHOWN} more relations (--json names up to 100)"


def _warnings(snapshot: Snapshot) -> Iterator[Line]:
    for number, warning in enumerate(snapshot.warnings):
        yield "" if number else "warnings", warning
