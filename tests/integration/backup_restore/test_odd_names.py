"""A file whose name is not UTF-8 and that cannot be read: named in the warnings, and no fault of ours."""

import os

from holdfast.progress import Silence

ODD_NAME = b"notiz \xff.txt"


def test_an_unreadable_file_with_an_odd_name_is_named(quiet_cluster, quiet_stack, monkeypatch):
    odd = os.path.join(os.fsencode(quiet_cluster.data_directory), ODD_NAME)
    with open(odd, "wb") as file:
        file.write(b"content")
    really_open = os.open

    def refuse(path, *arguments, **options):
        if path == odd:
            raise PermissionError(13, "Permission denied", path)
        return really_open(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)  # root, who runs the tests here, may read everything
    snapshot = quiet_stack.back_up_here(Silence())
    os.unlink(odd)
    assert not snapshot.is_complete
    assert snapshot.warnings == ("notiz \\377.txt: Permission denied",)
    assert quiet_stack.snapshots()[-1]["warnings"] == ["notiz \\377.txt: Permission denied"]
