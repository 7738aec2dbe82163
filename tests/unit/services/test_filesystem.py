"""Scanning: what is there becomes entries, what vanishes is passed over, what may not be seen is named."""

import os
import socket
import subprocess
import tracemalloc
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec
import pytest
from tests.servers.postgres import account

from holdfast.repository.manifest import EntryKind, load_entries
from holdfast.services import filesystem
from holdfast.services.filesystem import scan_tree


class Rules:
    """Leaves out what is called so, enters ``into``, replaces ``replaced``."""

    def left_out(self, directory, names):
        return frozenset(name for name in names if name == b"left out")

    def is_entered(self, link):
        return link == b"into"

    def is_replaced_by_target(self, link):
        return link == b"replaced"


def scan(root, unreadable=None):
    lost = [] if unreadable is None else unreadable
    found = {}
    for entry, absolute in scan_tree(os.fsencode(root), Rules(), lost):
        assert entry.path not in found
        link_or_place = os.path.join(os.fsencode(root), entry.path)
        assert absolute in {link_or_place, os.path.realpath(link_or_place)}
        assert os.path.dirname(entry.path) in {b"", *found}
        found[entry.path] = entry
    if unreadable is None:
        assert lost == []
    return found


@contextmanager
def unprivileged():
    """Be somebody whom modes can stop."""
    if os.geteuid():
        yield
        return
    os.setegid(account().gid)
    os.seteuid(account().uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_every_kind_with_its_facts(tmp_path):
    (tmp_path / "directory").mkdir(mode=0o751)
    odd = os.path.join(os.fsencode(tmp_path), b"directory", b"\xff\xfe \n\xc3\xa4")
    with open(odd, "wb") as file:
        file.write(b"content")
    os.chmod(odd, 0o4640)
    os.utime(odd, ns=(1, 1_234_567_890_123_456_789))
    os.link(odd, tmp_path / "second")
    (tmp_path / "link").symlink_to("directory/../nowhere")
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        found = scan(tmp_path)
    kinds = {path: entry.kind for path, entry in found.items()}
    assert kinds.pop(b"directory/\xff\xfe \n\xc3\xa4") is not kinds.pop(b"second")
    assert kinds == {
        b"directory": EntryKind.DIRECTORY,
        b"link": EntryKind.SYMLINK,
        b"fifo": EntryKind.FIFO,
        b"socket": EntryKind.SOCKET,
    }
    (file,) = [entry for entry in found.values() if entry.kind is EntryKind.FILE]
    assert (file.mode, file.size, file.mtime_ns) == (0o4640, 7, 1_234_567_890_123_456_789)
    assert (file.uid, file.gid) == (os.geteuid(), os.stat(odd).st_gid)
    (other,) = [entry for entry in found.values() if entry.kind is EntryKind.HARD_LINK]
    assert (other.link, other.size) == (file.path, 0)
    assert (found[b"directory"].mode, found[b"link"].link) == (0o751, b"directory/../nowhere")


def test_rules_decide_on_links_and_names(tmp_path):
    outside = tmp_path / "outside"
    (outside / "sub").mkdir(parents=True)
    (outside / "sub" / "file").write_text("x")
    root = tmp_path / "root"
    root.mkdir()
    for name in ("into", "not into", "replaced"):
        (root / name).symlink_to(outside)
    (root / "left out").write_text("x")
    kinds = {path: entry.kind.name for path, entry in scan(root).items()}
    assert kinds == {
        b"into": "SYMLINK",
        b"into/sub": "DIRECTORY",
        b"into/sub/file": "FILE",
        b"not into": "SYMLINK",
        b"replaced": "DIRECTORY",
        b"replaced/sub": "DIRECTORY",
        b"replaced/sub/file": "FILE",
    }


@pytest.mark.parametrize(("target", "follows"), [("own", True), ("/etc/passwd", False)])
def test_root_follows_no_link_to_what_belongs_to_another_user_than_the_link(tmp_path, monkeypatch, target, follows):
    """Whoever may write links in the data directory would have root read for him what he may not read."""
    (tmp_path / "own").write_text("own")
    (tmp_path / "replaced").symlink_to(target)
    if os.geteuid() == 0:
        for name in ("own", "replaced"):
            os.lchown(tmp_path / name, account().uid, account().gid)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    unreadable = []
    found = scan(tmp_path, unreadable)
    if follows:
        assert found[b"replaced"].kind is EntryKind.FILE
        assert unreadable == []
    else:
        assert b"replaced" not in found
        assert [(each.path, each.reason) for each in unreadable] == [
            (b"replaced", "it leads to what belongs to another user than the link")
        ]


def test_extended_attributes_and_acls_are_recorded(tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    os.setxattr(path, "user.note", b"\x00\xff")
    subprocess.run(["setfacl", "-m", "u:65534:r", path], check=True)
    xattrs = scan(tmp_path)[b"file"].xattrs
    assert xattrs[b"user.note"] == b"\x00\xff"
    assert b"system.posix_acl_access" in xattrs


def test_what_may_not_be_looked_into_is_named(shared_directory):
    (shared_directory / "closed").mkdir()
    (shared_directory / "closed" / "file").write_text("x")
    (shared_directory / "listed").mkdir()
    (shared_directory / "listed" / "file").write_text("x")
    (shared_directory / "open").write_text("x")
    (shared_directory / "closed").chmod(0)
    (shared_directory / "listed").chmod(0o444)
    unreadable = []
    try:
        with unprivileged():
            found = scan(shared_directory, unreadable)
    finally:
        (shared_directory / "closed").chmod(0o700)
        (shared_directory / "listed").chmod(0o700)
    assert set(found) == {b"closed", b"listed", b"open"}
    assert {(item.path, item.reason) for item in unreadable} == {
        (b"closed", "Permission denied"),
        (b"listed/file", "Permission denied"),
    }


@pytest.mark.parametrize("vanishing", ["file", "link", "directory"])
def test_what_vanishes_during_the_scan_is_passed_over(tmp_path, monkeypatch, vanishing):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "below").write_text("x")

    def make_entry(path, absolute, status, make=filesystem.make_entry):
        if path == vanishing.encode():
            subprocess.run(["rm", "-r", absolute], check=True)
        return make(path, absolute, status)

    monkeypatch.setattr(filesystem, "make_entry", make_entry)
    everything = {b"file", b"link", b"directory", b"directory/below"}
    found = set(scan(tmp_path))
    assert everything - found <= {vanishing.encode(), b"directory/below"}
    assert vanishing == "directory" or b"directory/below" in found


def test_a_scan_of_many_files_holds_little_more_than_their_names(tmp_path):
    """A directory of a cluster may hold a million files. A status of each, kept to the end, takes 800 bytes a file."""
    count = 3000
    for number in range(count):
        (tmp_path / str(number)).touch()
    tracemalloc.start()
    try:
        assert sum(1 for _ in scan_tree(os.fsencode(tmp_path), Rules(), [])) == count
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 200 * count


@pytest.mark.parametrize(("seconds", "year"), [(10**12, 2262), (-(10**12), 1677)])
def test_a_file_of_a_time_beyond_what_a_snapshot_holds_gets_the_nearest(tmp_path, seconds, year):
    """tmpfs, XFS and others keep any time that somebody sets: a backup of such a file was an internal error."""
    (tmp_path / "file").touch()
    status = os.lstat(tmp_path / "file")
    times = {"st_mtime_ns": seconds * 10**9, "st_ctime_ns": seconds * 10**9}
    entry = filesystem.make_entry(b"file", os.fsencode(tmp_path / "file"), os.stat_result(tuple(status), times))
    assert load_entries(msgspec.msgpack.encode([entry])) == (entry,)
    assert datetime.fromtimestamp(entry.mtime_ns // 10**9, UTC).year == year
