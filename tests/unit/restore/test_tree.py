"""The tree of a restore: names, links, holes, owners, modes, attributes and times, from a real repository and back."""

import os
import pwd
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from tests.unit.repository.building import commit, make_repository

from holdfast.errors import UsageError
from holdfast.progress import Silence
from holdfast.repository.manifest import Entry, EntryKind
from holdfast.repository.names import ROOT
from holdfast.repository.pipeline import Pipeline
from holdfast.repository.sources import FileSource, NoInspection
from holdfast.repository.writer import WriterOptions
from holdfast.restore.plan import PlannedFile
from holdfast.restore.run import RestoreOptions, plan_restore, run_restore
from holdfast.restore.tree import finish_path, is_finished
from holdfast.services.filesystem import make_entry, scan_tree
from holdfast.storage.memory import MemoryStorage
from holdfast.wal.ownership import MARKER_NAME

LAST = b"last"


class Everything:
    def left_out(self, directory, names):
        return frozenset()

    def is_entered(self, link):
        return False

    def is_replaced_by_target(self, link):
        return False


@dataclass
class PlainLayout:
    """Puts everything where its path says."""

    target: Path
    others: tuple[Path, ...] = ()
    notes = ()
    last = LAST

    @property
    def roots(self):
        return (self.target, *self.others)

    def destination(self, entry):
        return self.target if entry.path == ROOT else self.target / os.fsdecode(entry.path)

    def is_filled(self, entry):
        return True

    def link(self, entry):
        return entry.link

    def finish(self, last):
        assert last.read_text() == "what makes it start"
        assert not (self.target / "last").exists()


def back_up(repository, root):
    """Store a whole tree as the one snapshot."""
    writer, _ = repository.writer("shop", "db", WriterOptions())
    with writer:
        pipeline = Pipeline(writer, NoInspection(), Silence())
        entries = [make_entry(ROOT, os.fsencode(root), os.stat(root))]
        files = []
        for entry, absolute in scan_tree(os.fsencode(root), Everything(), []):
            if entry.kind is EntryKind.FILE:
                files.append(FileSource(entry, absolute))
            else:
                entries.append(entry)
        capture = pipeline.capture(files)
        capture.entries.extend(entries)
        return commit(repository, writer, capture)


def restore(repository, snapshot, layout, *, resumes=False):
    options = RestoreOptions(resumes)
    plan, reader = plan_restore(repository, snapshot, layout, options)
    run_restore(repository, plan, reader, options, Silence())
    return plan


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "source"
    root.mkdir(mode=0o750)
    (root / "last").write_text("what makes it start")
    return root


def test_everything_comes_back(source, tmp_path):
    (source / "sub").mkdir(mode=0o711)
    odd = os.path.join(os.fsencode(source), b"sub/\xff\n\xc3\xa4")
    Path(os.fsdecode(odd)).write_bytes(os.urandom(300_001))
    (source / "empty").touch(mode=0o400)
    (source / "read-only").write_text("x")
    os.setxattr(source / "read-only", "user.note", b"kept")
    subprocess.run(["setfacl", "-m", "u:65534:r", source / "read-only"], check=True)
    subprocess.run(["setfacl", "-d", "-m", "u:65534:rx", source / "sub"], check=True)
    (source / "read-only").chmod(0o440)
    os.link(source / "read-only", source / "again")
    (source / "link").symlink_to("sub/../nowhere")
    os.mkfifo(source / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "socket"))
    with (source / "sparse").open("wb") as file:
        file.truncate(32 << 20)
        file.seek(16 << 20)
        file.write(b"x" * 100)
    for number, path in enumerate(sorted(source.rglob("*"))):
        os.utime(path, ns=(1, 1_500_000_000_123_456_789 + number), follow_symlinks=False)
    repository = make_repository(MemoryStorage())
    restore(repository, back_up(repository, source), PlainLayout(tmp_path / "target"))

    target = tmp_path / "target"
    names = {path.relative_to(source) for path in source.rglob("*")}
    restored = {path.relative_to(target) for path in target.rglob("*")}
    assert names - restored == {Path("fifo"), Path("socket")}
    assert restored - names == {Path(MARKER_NAME)}
    for name in restored & names:
        assert facts_of(target / name) == facts_of(source / name), name
    assert facts_of(target)[:3] == facts_of(source)[:3]
    assert (target / "again").samefile(target / "read-only")
    assert (target / "sparse").stat().st_blocks * 512 < 4 << 20


def facts_of(path):
    status = path.lstat()
    is_link = path.is_symlink()
    xattrs = {
        name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
    }
    content = os.readlink(path) if is_link else path.read_bytes() if path.is_file() else None
    when = None if is_link or path.is_dir() else status.st_mtime_ns
    return status.st_uid, status.st_gid, status.st_mode, xattrs, content, when


def test_owners_are_those_of_the_name_and_else_of_the_number(tmp_path):
    """On a new machine the account postgres has another number; who is not root keeps what is restored."""
    own = pwd.getpwuid(os.geteuid()).pw_name
    for user, uid in [(own, os.geteuid()), ("nobody-has-this-name", 12345 if os.geteuid() == 0 else os.geteuid())]:
        path = tmp_path / user
        path.touch()
        finish_path(path, Entry(b"file", EntryKind.FILE, 0o600, 12345, 12345, user, user, 0, 0, 0, 0))
        assert path.stat().st_uid == uid


def test_other_roots_get_the_owner_and_mode_of_the_target(source, tmp_path):
    repository = make_repository(MemoryStorage())
    layout = PlainLayout(tmp_path / "target", (tmp_path / "a" / "place",))
    restore(repository, back_up(repository, source), layout)
    assert (tmp_path / "a" / "place").stat().st_mode & 0o7777 == 0o750


@pytest.mark.parametrize("inner", ["target/inside", "target", "."])
def test_directories_in_one_another_are_refused(source, tmp_path, inner):
    repository = make_repository(MemoryStorage())
    snapshot = back_up(repository, source)
    with pytest.raises(UsageError, match="lie in one another"):
        restore(repository, snapshot, PlainLayout(tmp_path / "target", (tmp_path / inner,)))
    assert not (tmp_path / "target").exists()


def test_marker_of_an_earlier_restore_does_not_come_back(source, tmp_path):
    (source / MARKER_NAME).write_text('{"snapshot": "an earlier one"}')
    repository = make_repository(MemoryStorage())
    snapshot = back_up(repository, source)
    restore(repository, snapshot, PlainLayout(tmp_path / "target"))
    marker = msgspec.json.decode((tmp_path / "target" / MARKER_NAME).read_bytes())
    assert marker["snapshot"] == snapshot.id
    assert marker["finished"]


def test_restore_killed_before_its_marker_stood_is_no_hindrance(source, tmp_path):
    repository = make_repository(MemoryStorage())
    snapshot = back_up(repository, source)
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / f"{MARKER_NAME}.new").write_text('{"snap')
    restore(repository, snapshot, PlainLayout(tmp_path / "target"))
    assert not (tmp_path / "target" / f"{MARKER_NAME}.new").exists()
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied" / "other.new").touch()
    with pytest.raises(UsageError, match="not empty"):
        restore(repository, snapshot, PlainLayout(tmp_path / "occupied"))


def test_resume_goes_on_only_where_it_was_broken_off(source, tmp_path):
    (source / "read-only").write_text("x")
    (source / "read-only").chmod(0o400)
    repository = make_repository(MemoryStorage())
    snapshot = back_up(repository, source)
    target = tmp_path / "target"
    layout = PlainLayout(target, (tmp_path / "place",))
    layout.finish = lambda last: (_ for _ in ()).throw(OSError(28, "No space left on device", str(target / "x")))
    from holdfast.errors import NoSpaceError

    with pytest.raises(NoSpaceError) as caught:
        restore(repository, snapshot, layout)
    assert "--resume" in caught.value.hint
    assert not (target / "last").exists()

    again = PlainLayout(target, (tmp_path / "another",))
    with pytest.raises(UsageError, match="went to other directories"):
        restore(repository, snapshot, again, resumes=True)
    another = back_up(repository, source)
    with pytest.raises(UsageError, match="another snapshot"):
        restore(repository, another, PlainLayout(target, (tmp_path / "place",)), resumes=True)
    restore(repository, snapshot, PlainLayout(target, (tmp_path / "place",)), resumes=True)
    assert (target / "last").read_text() == "what makes it start"
    with pytest.raises(UsageError, match="whole already"):
        restore(repository, snapshot, PlainLayout(target, (tmp_path / "place",)), resumes=True)


def test_target_that_may_not_be_written_is_told_and_nothing_is_left(source, tmp_path, monkeypatch):
    from holdfast.errors import PermissionRefusedError

    repository = make_repository(MemoryStorage())
    snapshot = back_up(repository, source)
    mkdir = Path.mkdir

    def refuse(path, *arguments, **named):
        if path == tmp_path / "target":
            raise PermissionError(13, "Permission denied", str(path))
        mkdir(path, *arguments, **named)

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(PermissionRefusedError, match="may not write") as caught:
        restore(repository, snapshot, PlainLayout(tmp_path / "target"))
    assert caught.value.hint == "repair the cause, then run the same command again"
    assert not (tmp_path / "target").exists()


def test_full_file_system_is_noticed_by_the_plan(source, tmp_path, monkeypatch):
    from holdfast.errors import NoSpaceError
    from holdfast.restore import plan

    (source / "large").write_bytes(os.urandom(3 << 20))
    repository = make_repository(MemoryStorage())
    snapshot = back_up(repository, source)
    usage = plan.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda path: usage._replace(free=2 << 20))
    with pytest.raises(NoSpaceError, match="2 MiB free; the restore needs 3 MiB") as caught:
        restore(repository, snapshot, PlainLayout(tmp_path / "target"))
    assert caught.value.hint
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"longer than before"),
        lambda path: os.chmod(path, 0o644),
        lambda path: os.chmod(path, 0o4600),
        lambda path: os.utime(path, ns=(0, 1_000_001)),
        lambda path: path.unlink(),
        lambda path: path.rename(path.with_name("elsewhere")) and path.symlink_to("elsewhere"),
    ],
    ids=["length", "mode", "rights of its owner", "time", "not there", "a link"],
)
def test_a_file_is_finished_only_with_all_that_finishing_gives_it(tmp_path, spoil):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    entry = Entry(b"file", EntryKind.FILE, 0o4600, os.geteuid(), os.getegid(), "", "", 1_000_000, 0, 0, 7)
    file = PlannedFile(entry, path, 7)
    assert not is_finished(file)
    finish_path(path, entry)
    assert is_finished(file)
    for differing in ({"xattrs": {b"user.note": b"x"}}, {"uid": entry.uid + 1}, {"gid": entry.gid + 1}):
        assert not is_finished(PlannedFile(msgspec.structs.replace(entry, **differing), path, 7))
    spoil(path)
    assert not is_finished(file)
