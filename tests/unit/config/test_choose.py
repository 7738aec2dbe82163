"""Which service and repository a command means."""

from __future__ import annotations

import pytest

from holdfast.config.choose import choose_repository, choose_service
from holdfast.errors import UsageError

TWO = """\
stack: shop
repositories:
  main: {url: /a, unencrypted: true}
  offsite: {url: /b, unencrypted: true}
services:
  db: {kind: postgres, connection: host=h, repository: offsite}
"""
ONE = "stack: shop\nrepositories: {main: {url: /a, unencrypted: true}}\n"


@pytest.mark.parametrize(
    ("asked", "service", "chosen"), [("main", "db", "main"), (None, "db", "offsite"), ("offsite", None, "offsite")]
)
def test_what_is_asked_for_wins_over_the_service(asked, service, chosen, load):
    name, repository = choose_repository(load(TWO), asked=asked, service=service)
    assert (name, repository.url) == (chosen, {"main": "/a", "offsite": "/b"}[chosen])


def test_the_only_one_needs_no_name(load):
    assert choose_repository(load(ONE))[0] == "main"


def test_several_need_a_name(load):
    with pytest.raises(UsageError) as caught:
        choose_repository(load(TWO))
    assert caught.value.hint == "say which: -r main | -r offsite"


@pytest.mark.parametrize(("name", "hint"), [("ofsite", "did you mean 'offsite'?"), ("zzz", "there are: main, offsite")])
def test_an_unknown_repository(name: str, hint: str, load):
    with pytest.raises(UsageError) as caught:
        choose_repository(load(TWO), asked=name)
    assert caught.value.hint == hint


def test_an_unknown_service(load):
    assert choose_service(load(TWO), "db").kind == "postgres"
    with pytest.raises(UsageError, match="unknown service: dbb") as caught:
        choose_service(load(TWO), "dbb")
    assert caught.value.hint == "did you mean 'db'?"
    with pytest.raises(UsageError) as caught:
        choose_service(load(ONE), "db")
    assert caught.value.hint == "the stack file has none"
