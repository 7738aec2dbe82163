"""Names of tables and databases as people type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import UsageError
from holdfast.services.postgres.parts import choose_database, parse_name, quoted

NAMES = st.text(min_size=1, max_size=20).filter(lambda name: "\0" not in name)


@given(NAMES, NAMES)
def test_quoted_names_come_back_whatever_they_hold(schema: str, name: str):
    assert parse_name(f"{quoted(schema)}.{quoted(name)}") == (schema, name)
    assert parse_name(quoted(name)) == (None, name)


@pytest.mark.parametrize(
    ("words", "meant"),
    [("orders", (None, "orders")), ("sales.orders", ("sales", "orders")), ('sales."A.b"', ("sales", "A.b"))],
)
def test_plain_names(words, meant):
    assert parse_name(words) == meant


@pytest.mark.parametrize("words", ["", ".", "a.", ".a", "a.b.c", 'a"b', '"a', '""', "a..b", '"a""', '"a"b'])
def test_what_is_no_name_is_refused(words):
    with pytest.raises(UsageError, match="not the name of a table"):
        parse_name(words)


def test_the_only_database_of_users_needs_no_name():
    assert choose_database(["postgres", "shop", "template0", "template1"], None) == "shop"
    assert choose_database(["postgres", "template0", "template1"], None) == "postgres"
    with pytest.raises(UsageError) as caught:
        choose_database(["postgres", "shop", "mail"], None)
    assert caught.value.hint == "add --database: shop, mail"


def test_near_names_are_told():
    with pytest.raises(UsageError) as caught:
        choose_database(["postgres", "shop"], "shp")
    assert caught.value.hint == "did you mean shop?"
    with pytest.raises(UsageError) as caught:
        choose_database(["postgres", "shop"], "warehouse")
    assert caught.value.hint == "it has postgres, shop"
