"""Proof that a data directory is the one of the server that answers: files and facts must be of one cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import ServerError
from holdfast.postgres.control import read_control_file
from holdfast.postgres.location import verify_is_data_directory

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.postgres.facts import ServerFacts


def require_data_directory_of(facts: ServerFacts, root: Path) -> None:
    """Raise ServerError unless ``root`` is a data directory, has the server's system identifier and its block sizes."""
    verify_is_data_directory(root)
    control = read_control_file(root)
    if control.system_identifier != facts.system_identifier:
        raise ServerError(
            f"{root} belongs to another cluster (system identifier {control.system_identifier}) than the server "
            f"that answers (system identifier {facts.system_identifier})",
            hint="correct 'connection' or 'data_directory' of this service",
        )
    on_disk = (control.block_size, control.wal_segment_size, control.relation_segment_blocks)
    said = (facts.block_size, facts.wal_segment_size, facts.relation_segment_blocks)
    if on_disk != said:
        raise ServerError(
            f"pg_control and the server disagree on block and segment sizes: {on_disk} and {said}",
            hint="check that 'connection' and 'data_directory' name the same server",
        )
