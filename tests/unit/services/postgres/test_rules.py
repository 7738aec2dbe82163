"""What of a data directory and its tablespaces is the server's own."""

import os

from holdfast.repository.manifest import EntryKind
from holdfast.services.filesystem import scan_tree
from holdfast.services.postgres.rules import DataDirectoryRules


def test_what_an_upgrade_left_in_a_tablespace_is_not_taken_for_the_servers(tmp_path):
    """After ``pg_upgrade --link`` both clusters' parts have the same files: one would be a link to the other."""
    far = tmp_path / "far"
    for version in ("PG_14_202107181", "PG_15_202209061", "PG_9.6_201608131"):
        (far / version / "5").mkdir(parents=True)
    (far / "PG_14_202107181" / "5" / "16384").write_bytes(bytes(8192))
    os.link(far / "PG_14_202107181" / "5" / "16384", far / "PG_15_202209061" / "5" / "16384")
    (far / "holdfast-staging-1").mkdir()
    root = tmp_path / "root"
    (root / "pg_tblspc").mkdir(parents=True)
    (root / "pg_tblspc" / "16385").symlink_to(far)
    rules = DataDirectoryRules([16385], 15)
    found = {entry.path: entry.kind for entry, _ in scan_tree(os.fsencode(root), rules, [])}
    part = b"pg_tblspc/16385/PG_15_202209061"
    assert found == {
        b"pg_tblspc": EntryKind.DIRECTORY,
        b"pg_tblspc/16385": EntryKind.SYMLINK,
        part: EntryKind.DIRECTORY,
        part + b"/5": EntryKind.DIRECTORY,
        part + b"/5/16384": EntryKind.FILE,
    }


def test_a_link_that_leads_back_to_where_it_lies_is_not_entered(tmp_path):
    """``ln -s /disk/base base``, given twice: the second time it makes /disk/base/base."""
    disk, root = tmp_path / "disk", tmp_path / "root"
    (disk / "base" / "5").mkdir(parents=True)
    root.mkdir()
    for link in (root / "base", disk / "base" / "base"):
        link.symlink_to(disk / "base")
    found = {entry.path: entry.kind for entry, _ in scan_tree(os.fsencode(root), DataDirectoryRules([], 15), [])}
    assert found == {
        b"base": EntryKind.DIRECTORY,
        b"base/5": EntryKind.DIRECTORY,
        b"base/base": EntryKind.SYMLINK,
    }
