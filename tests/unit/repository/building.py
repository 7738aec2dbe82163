"""Makes small repositories for tests, backs trees up into them by the real pipeline, and reads everything back."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from holdfast import clock
from holdfast.errors import DamageError
from holdfast.model import new_object_id
from holdfast.progress import Silence
from holdfast.repository.cache import ObjectCache
from holdfast.repository.compression import ContentClass
from holdfast.repository.file_extents import load_extents
from holdfast.repository.init import init_repository, init_unencrypted
from holdfast.repository.manifest import Entry, EntryKind
from holdfast.repository.opening import open_repository
from holdfast.repository.pipeline import Pipeline
from holdfast.repository.repository import Repository
from holdfast.repository.snapshot import Snapshot
from holdfast.repository.sources import Capture, FileSource, NoInspection
from holdfast.repository.unlock import Identity
from holdfast.repository.writer import WriterOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.repository.writer import Writer
    from holdfast.storage.base import Storage

OWNER = Identity(bytes(range(32)))
"""Opens at once, where a passphrase would take half a second."""

NO_CACHE = Path("/proc/nowhere")
"""A cache root that cannot be written, which is no error: nothing is cached."""


def make_repository(storage: Storage, *, cache: Path = NO_CACHE) -> Repository:
    """Make an encrypted repository and open it."""
    init_repository(storage, [(OWNER, "owner")])
    return reopen(storage, cache=cache)


def make_plain_repository(storage: Storage) -> Repository:
    """Make an unencrypted repository and open it."""
    init_unencrypted(storage)
    return open_repository(storage, None, partial(ObjectCache, NO_CACHE))


def reopen(storage: Storage, unlock: Identity | None = OWNER, *, cache: Path = NO_CACHE) -> Repository:
    """Open a repository as a new process would."""
    return open_repository(storage, unlock, partial(ObjectCache, cache))


def entry_of(path: bytes, status: os.stat_result, kind: EntryKind = EntryKind.FILE, link: bytes = b"") -> Entry:
    """Return the entry of a path as a scanner would make it."""
    size = status.st_size if kind is EntryKind.FILE else 0
    return Entry(
        path, kind, status.st_mode & 0o7777, status.st_uid, status.st_gid, "user", "group", status.st_mtime_ns,
        status.st_ctime_ns, status.st_ino, size, link,
    )  # fmt: skip


def sources_of(root: Path, content_class: ContentClass = ContentClass.FILE) -> list[FileSource]:
    """Return every regular file below a directory."""
    found = []
    for directory, _, names in os.walk(os.fsencode(root)):
        for name in names:
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, os.fsencode(root))
            found.append(FileSource(entry_of(relative, os.lstat(path)), path, content_class))
    return found


def commit(
    repository: Repository, writer: Writer, capture: Capture, service: str = "db", **changes: object
) -> Snapshot:
    """Commit what a pipeline captured."""
    manifest = writer.store_manifest(sorted(capture.entries, key=lambda entry: entry.path))
    writer.flush()
    present = clock.now().isoformat()
    snapshot = Snapshot(
        id=new_object_id(), stack="shop", service=service, kind="files", host="here", started=present, ended=present,
        tool_version="0", manifest=manifest, is_complete=True, is_clean=True,
        is_encrypted=repository.keys.is_encrypted,
    )  # fmt: skip
    snapshot = msgspec.structs.replace(snapshot, **changes)
    writer.commit(snapshot)
    return snapshot


def capture_into(writer: Writer, sources: list[FileSource]) -> Capture:
    """Run the pipeline."""
    return Pipeline(writer, NoInspection(), Silence()).capture(sources)


def back_up(
    repository: Repository,
    root: Path,
    service: str = "db",
    content_class: ContentClass = ContentClass.FILE,
    options: WriterOptions | None = None,
) -> Snapshot:
    """Back up a directory."""
    writer, _ = repository.writer("shop", service, options or WriterOptions())
    with writer:
        return commit(repository, writer, capture_into(writer, sources_of(root, content_class)), service)


@dataclass(frozen=True)
class Content:
    """What one entry gave back: its bytes, and how many of them were covered by extents."""

    data: bytes
    covered: int


def read_back(repository: Repository, snapshot: Snapshot) -> dict[bytes, Content]:
    """Read every file of a snapshot by its extents, as a restore would."""
    reader = repository.reader()
    found = {}
    for entry in repository.entries(reader, snapshot):
        if entry.kind is EntryKind.FILE:
            found[entry.path] = _content(entry, reader.read, reader.read_many)
    return found


def _content(
    entry: Entry, read: Callable[[bytes], bytes], read_many: Callable[[list[bytes]], Iterator[bytes]]
) -> Content:
    extents = load_extents(entry, read)
    data = bytearray(entry.size)
    for extent, chunk in zip(extents, read_many([bytes(chunk) for chunk in extents["chunk"]]), strict=True):
        start, length, inner = int(extent["file_offset"]), int(extent["length"]), int(extent["chunk_offset"])
        part = chunk[inner : inner + length]
        if len(part) != length:
            raise DamageError(f"file {entry.path!r}", "an extent passes the end of its chunk")
        data[start : start + length] = part
    return Content(bytes(data), int(extents["length"].sum()))


def tree_content(root: Path) -> dict[bytes, bytes]:
    """Return what read_back should give for a directory."""
    return {source.entry.path: Path(os.fsdecode(source.path)).read_bytes() for source in sources_of(root)}


def data_of(found: dict[bytes, Content]) -> dict[bytes, bytes]:
    """Return the bytes alone."""
    return {path: content.data for path, content in found.items()}


def write_tree(root: Path, files: dict[str, bytes]) -> None:
    """Write files below a directory."""
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
