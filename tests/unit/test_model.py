"""Ids: their shape, and that two are never alike."""

from __future__ import annotations

from holdfast.model import OBJECT_ID, new_object_id


def test_object_ids_have_their_shape_and_differ() -> None:
    ids = {new_object_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(OBJECT_ID.fullmatch(object_id) for object_id in ids)


def test_other_texts_are_no_object_ids() -> None:
    good = "0123456789abcdef" * 2
    for text in (good.upper(), good[:-1], good + "0", good[:-1] + "g", good[:-1] + "\n", good + "\n"):
        assert not OBJECT_ID.fullmatch(text)
