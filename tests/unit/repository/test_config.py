"""The config object: read before any key is known, so every kind of junk must end in a clear word."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import DamageError, HoldfastError
from holdfast.repository.config import SUITE_ENCRYPTED, SUITE_PLAIN, new_config, parse_config
from holdfast.repository.sealed import encode_document

GOOD = json.loads(encode_document(new_config(SUITE_ENCRYPTED)))


def test_a_new_config_comes_back() -> None:
    for suite in (SUITE_ENCRYPTED, SUITE_PLAIN):
        config = new_config(suite)
        assert parse_config(encode_document(config)) == config
        assert config.is_encrypted == (suite == SUITE_ENCRYPTED)


@given(junk=st.binary(max_size=80))
def test_junk_is_damage(junk: bytes) -> None:
    with pytest.raises(DamageError, match="config"):
        parse_config(junk)


@pytest.mark.parametrize("changes", [{"format": 2}, {"suite": "rot13"}])
def test_a_format_of_the_future_is_told_apart_from_damage(changes: dict[str, object]) -> None:
    with pytest.raises(HoldfastError, match="this version reads format 1") as caught:
        parse_config(json.dumps(GOOD | changes).encode())
    assert not isinstance(caught.value, DamageError)


@pytest.mark.parametrize("changes", [{"id": "xyz"}, {"id": "A" * 32}, {"id": 5}, {"format": "1"}, {"created": None}])
def test_wrong_values_are_damage(changes: dict[str, object]) -> None:
    with pytest.raises(DamageError, match="config"):
        parse_config(json.dumps(GOOD | changes).encode())
