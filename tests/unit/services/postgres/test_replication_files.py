"""What no server of PostgreSQL sends is refused before memory is taken for it, or one file hides another."""

import pytest

from holdfast.errors import VerificationError
from holdfast.postgres.base_backup_tar import MemberKind, TarHeader
from holdfast.postgres.control import CONTROL_PATH
from holdfast.services.postgres.replication_files import ArrivingFiles
from holdfast.services.postgres.rules import DataDirectoryRules


class Sent:
    """A base backup of some members, all of whose content is zeros."""

    def __init__(self, *members):
        self._members = members

    def members(self):
        yield from self._members

    def read_into(self, buffer):
        buffer[:] = bytes(len(buffer))


def member(path, size=0, kind=MemberKind.FILE):
    return TarHeader(path, kind, 0o600, 1, 1, "postgres", "postgres", size, 0, b"")


class Intake:
    """Stores nothing."""

    def store(self, _, pieces, cuts):
        assert pieces
        return [bytes(32) for _ in cuts]

    def finish_file(self, *_):
        pass


def receive(*members):
    files = ArrivingFiles(Sent(*members), DataDirectoryRules((), 15))
    for task in files.tasks():
        task.run(Intake(), memoryview(b""))
    return files


@pytest.mark.parametrize("path", [CONTROL_PATH, b"backup_label", b"tablespace_map"])
def test_what_is_kept_in_memory_is_never_large(path):
    assert len(receive(member(path, 8192)).whole[path][1]) == 8192
    with pytest.raises(VerificationError, match="which it never is") as caught:
        receive(member(path, 1 << 40))
    assert caught.value.hint


@pytest.mark.parametrize("path", [CONTROL_PATH, b"pg_xact/0000", b"base/1/1259"])
def test_what_is_sent_twice_is_refused(path):
    assert receive(member(path, 8192)).files[path][0] == 8192
    with pytest.raises(VerificationError, match="twice") as caught:
        receive(member(path, 8192), member(path, 8192))
    assert caught.value.hint


@pytest.mark.parametrize("kind", list(MemberKind))
@pytest.mark.parametrize("other", [MemberKind.DIRECTORY, MemberKind.SYMLINK])
def test_what_is_sent_as_two_things_is_refused(kind, other):
    with pytest.raises(VerificationError, match="twice"):
        receive(member(b"base/1/2", 0, kind), member(b"base/1/2", 0, other))
