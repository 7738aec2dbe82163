"""How the files of a data directory are cut and compressed."""

from __future__ import annotations

from holdfast.postgres.datadir import FileKind, classify
from holdfast.repository.compression import ContentClass


def content_class(path: bytes) -> ContentClass:
    """Return how a file of the data directory is cut and compressed."""
    match classify(path).kind:
        case FileKind.RELATION | FileKind.SLRU:
            return ContentClass.RELATION
        case FileKind.WAL:
            return ContentClass.WAL
        case _:
            return ContentClass.FILE
