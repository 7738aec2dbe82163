"""What is said to options of a restore that do not go together."""

from pathlib import Path

import pytest

from holdfast.cli.invocation import Invocation
from holdfast.cli.restoring.asked import AskedRestore
from holdfast.errors import UsageError


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"target": Path("/copy"), "delta": True}, "it compares again"),
        ({}, "goes on with what was staged"),
        ({"database": "shop"}, "run it without --resume"),
        ({"undo": True}, "holdfast restore --help"),
    ],
)
def test_whoever_resumes_where_that_is_not_needed_is_told_how_it_goes_on(options, hint):
    with pytest.raises(UsageError, match="--resume does not go with") as caught:
        AskedRestore(run=Invocation(), service="db", resume=True, **options).require_sense()
    assert hint in caught.value.hint
