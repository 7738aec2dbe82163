"""Who runs the server's programs."""

import os
import pwd

import pytest

from holdfast.errors import ServerError
from holdfast.postgres.account import Account, named_account, server_account


def test_own_account_needs_no_change(tmp_path):
    own = Account(os.geteuid(), os.getegid())
    assert own.child_identity() == {}
    own.take_over(tmp_path)


def test_ordinary_users_run_servers_themselves(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(os, "getegid", lambda: 4712)
    assert server_account(tmp_path) == Account(4711, 4712)


def test_root_takes_the_owner_of_the_data_directory_or_a_harmless_account(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = server_account(tmp_path / "absent")
    assert found.uid != 0
    assert pwd.getpwuid(found.uid).pw_name in {"postgres", "nobody"}
    owner = tmp_path.stat().st_uid
    assert server_account(tmp_path).uid == (owner or found.uid)


def test_another_account_is_given_to_the_child(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert Account(4711, 4712).child_identity() == {"user": 4711, "group": 4712, "extra_groups": ()}


def test_unknown_names_are_refused():
    assert named_account("root") == Account(0, 0)
    with pytest.raises(ServerError, match="no account"):
        named_account("no-such-account-here")
