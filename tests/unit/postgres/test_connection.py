"""What libpq says when a connection does not come about, told in one line, with what to do."""

from __future__ import annotations

import pytest

from holdfast.errors import ServerUnreachableError
from holdfast.postgres.connection import refusal

NOBODY = (
    'connection is bad: connection to server on socket "/run/postgresql/.s.PGSQL.5432" failed: '
    "No such file or directory\n"
    "\tIs the server running locally and accepting connections on that socket?"
)


def test_where_nobody_answers_the_question_at_the_end_is_left_out():
    error = refusal(NOBODY, {})
    assert isinstance(error, ServerUnreachableError)
    assert error.message == (
        'cannot connect to PostgreSQL: connection to server on socket "/run/postgresql/.s.PGSQL.5432" failed: '
        "No such file or directory"
    )


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ('Peer authentication failed for user "postgres"', "sudo -u postgres"),
        ('password authentication failed for user "shop"', "check user, password and dbname"),
        ('role "nobody" does not exist', "check user, password and dbname"),
    ],
)
def test_a_refusal_says_what_to_look_at(words: str, hint: str):
    error = refusal(f'connection failed: connection to server on socket "/x" failed: FATAL:  {words}', {})
    assert error.message == f"PostgreSQL refused the connection: {words}"
    assert hint in str(error.hint)


def test_a_password_is_in_no_message():
    error = refusal("connection is bad: no such host: canary-31", {"password": "canary-31"})
    assert "canary-31" not in error.message
