"""Makes the frozen repositories: ``python -m tests.vectors.make DIRECTORY``. Only for a new format: old ones stay.

Keys, names and salts are random, so no two runs give the same bytes. Chunks and packs are made small, and lists of
extents are stored apart early, so that every construct of the format occurs in a few hundred KiB.
"""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from tests.unit.repository.building import NO_CACHE, commit, entry_of
from tests.unit.repository.walfiles import sealed
from tests.vectors.content import OTHERS, PASSPHRASE, RECOVERY, SNAPSHOTS, WAL, WRITER_SECRET, XATTRS

from holdfast.progress import Silence
from holdfast.repository import chunker, file_extents, intake, packer, page_gather, paged_file, tasks
from holdfast.repository.cache import ObjectCache
from holdfast.repository.compression import ContentClass
from holdfast.repository.identity import parse_identity
from holdfast.repository.init import init_repository, init_unencrypted
from holdfast.repository.key_slot import SlotKind
from holdfast.repository.opening import open_repository
from holdfast.repository.page_memory import CachedMemory
from holdfast.repository.parent import NO_PARENT, load_parent
from holdfast.repository.pipeline import Pipeline
from holdfast.repository.sources import FileSource, NoInspection
from holdfast.repository.unlock import Identity, Passphrase
from holdfast.repository.writer import WriterOptions
from holdfast.storage.files import FilesStorage

if TYPE_CHECKING:
    from holdfast.repository.repository import Repository


_PAGE_BYTES = 8192


def make_pieces_small() -> None:
    """Patch the sizes."""
    for module in (chunker, intake, page_gather, paged_file):
        module.CHUNK_BYTES = _PAGE_BYTES
    tasks.BUNDLE_FILE_BYTES = 4096
    packer.PACK_BYTES = 32 << 10
    file_extents.INLINE_EXTENTS = 2


def write_content(root: Path, files: dict[bytes, bytes]) -> list[FileSource]:
    """Write files, with holes where they are zero; return them as the pipeline's sources."""
    found = []
    for name, data in sorted(files.items()):
        path = os.path.join(os.fsencode(root), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            for at in range(0, len(data), 4096):
                if any(page := data[at : at + 4096]):
                    os.pwrite(file.fileno(), page, at)
            file.truncate(len(data))
        entry = msgspec.structs.replace(entry_of(name, os.lstat(path)), xattrs=XATTRS)
        found.append(FileSource(entry, path, ContentClass.RELATION))
    return found


def fill(repository: Repository) -> None:
    """Take both snapshots, the second one on top of the first: so lists of extents lie over one another."""
    parent = NO_PARENT
    with tempfile.TemporaryDirectory() as cache:
        for tag, files in SNAPSHOTS.items():
            writer, _ = repository.writer("shop", "db", WriterOptions(threads=1))
            memory = CachedMemory(Path(cache) / "pages", parent, _PAGE_BYTES)
            with writer, tempfile.TemporaryDirectory() as root:
                pipeline = Pipeline(writer, NoInspection(), Silence(), memory)
                capture = pipeline.capture(write_content(Path(root), files))
                capture.entries.extend(OTHERS)
                snapshot = commit(repository, writer, capture, tags=(tag,))
            memory.commit(snapshot.id)
            reader = repository.reader()
            parent = load_parent(snapshot, repository.entries(reader, snapshot), reader)


def fill_archive(repository: Repository) -> None:
    """Store the WAL archive."""
    for name, content in WAL.items():
        repository.storage.put(name, sealed(repository.keys, name, content))


def main(target: Path) -> None:
    """Make both."""
    make_pieces_small()
    cache = partial(ObjectCache, NO_CACHE)
    sealed = FilesStorage(str(target / "format-1"))
    owner = Identity(parse_identity(RECOVERY))
    slots = [(Passphrase(PASSPHRASE), "people"), (owner, "paper"), (Identity(WRITER_SECRET, SlotKind.WRITER), "host")]
    init_repository(sealed, slots)
    repository = open_repository(sealed, owner, cache)
    fill(repository)
    fill_archive(repository)
    plain = FilesStorage(str(target / "format-1-unencrypted"))
    init_unencrypted(plain)
    repository = open_repository(plain, None, cache)
    fill(repository)
    fill_archive(repository)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
