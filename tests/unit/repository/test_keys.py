"""Keys of a repository: who opens what, and what a writer credential cannot do."""

from __future__ import annotations

import json
import time
from functools import partial

import msgspec
import pytest
from tests.unit.repository.building import NO_CACHE, OWNER, back_up, make_repository, read_back, reopen, write_tree

from holdfast.errors import DamageError, KeyRefusedError, UsageError
from holdfast.repository.cache import ObjectCache
from holdfast.repository.init import init_repository, init_unencrypted
from holdfast.repository.key_slot import (
    KeySlot,
    SlotKind,
)
from holdfast.repository.keys import Keyring, Keys, new_keyring
from holdfast.repository.opening import open_repository
from holdfast.repository.unlock import Identity, Passphrase
from holdfast.storage.memory import MemoryStorage

REPOSITORY_ID = "ab" * 16
open_uncached = partial(open_repository, cache=partial(ObjectCache, NO_CACHE))


def test_a_wrong_passphrase_is_refused_in_about_a_second() -> None:
    storage = MemoryStorage()
    init_repository(storage, [(Passphrase(b"correct horse"), "people"), (OWNER, "paper")])
    began = time.process_time()
    with pytest.raises(KeyRefusedError) as caught:
        open_uncached(storage, Passphrase(b"wrong horse"))
    assert time.process_time() - began < 5  # half a second on an idle machine
    assert caught.value.hint
    assert b"correct" not in str(caught.value).encode()


def test_each_secret_opens_the_repository_alone(tmp_path) -> None:
    storage = MemoryStorage()
    init_repository(storage, [(Passphrase(b"correct horse"), "people"), (OWNER, "paper")])
    write_tree(tmp_path, {"a": b"content"})
    snapshot = back_up(open_uncached(storage, Passphrase(b"correct horse")), tmp_path)
    for slot in open_uncached(storage, OWNER).key_slots():
        if slot.kind is SlotKind.PASSPHRASE:
            storage.delete(slot.PREFIX + slot.id)
    assert read_back(open_uncached(storage, OWNER), snapshot)[b"a"].data == b"content"
    with pytest.raises(KeyRefusedError):
        open_uncached(storage, Passphrase(b"correct horse"))


def test_a_damaged_slot_does_not_stand_in_the_way_of_another() -> None:
    storage = MemoryStorage()
    repository = make_repository(storage)
    repository.add_key(Identity(b"z" * 32), "second")
    name = next(info.name for info in storage.list("keys"))
    storage.put(name, b"\xff junk", must_not_exist=False)
    opened = [isinstance(_try_open(storage, secret), Keyring) for secret in (OWNER, Identity(b"z" * 32))]
    assert sorted(opened) == [False, True]


def _try_open(storage: MemoryStorage, secret: Identity) -> Keyring | None:
    try:
        return open_uncached(storage, secret).keys.keyring
    except DamageError:
        return None


def test_a_writer_credential_writes_and_lists_but_does_not_read_data(tmp_path) -> None:
    storage = MemoryStorage()
    owner = make_repository(storage)
    credential = Identity(b"w" * 32, SlotKind.WRITER)
    owner.add_key(credential, "host")
    writer = reopen(storage, credential)
    write_tree(tmp_path, {"a": b"secret content"})
    snapshot = back_up(writer, tmp_path)

    assert [found.id for found in writer.snapshots()] == [snapshot.id]
    assert [entry.path for entry in writer.entries(writer.reader(), snapshot)] == [b"a"]
    assert not writer.keys.can_read_data
    with pytest.raises(KeyRefusedError, match="owner's key"):
        read_back(writer, snapshot)
    with pytest.raises(KeyRefusedError):
        writer.add_key(Identity(b"x" * 32), "mine")
    assert read_back(owner, snapshot)[b"a"].data == b"secret content"


def test_a_writer_keyring_holds_no_private_key() -> None:
    keyring = new_keyring()
    private = keyring.epochs[0].private
    assert private is not None
    assert keyring.can_read_data
    assert not keyring.for_writer().can_read_data
    assert private not in msgspec.msgpack.encode(keyring.for_writer())


def test_the_last_slot_that_decrypts_stays() -> None:
    storage = MemoryStorage()
    repository = make_repository(storage)
    writer = repository.add_key(Identity(b"w" * 32, SlotKind.WRITER), "host")
    first = next(slot for slot in repository.key_slots() if slot.opens_data)
    with pytest.raises(UsageError, match="last key slot"):
        repository.remove_key(first.id)
    second = repository.add_key(Identity(b"z" * 32), "second")
    repository.remove_key(first.id)
    with pytest.raises(UsageError, match="last key slot"):
        repository.remove_key(second.id)
    repository.remove_key(writer.id[:8])
    assert [slot.id for slot in repository.key_slots()] == [second.id]
    reopen(storage, Identity(b"z" * 32))


def test_removing_by_an_unknown_or_ambiguous_prefix_is_refused() -> None:
    repository = make_repository(MemoryStorage())
    repository.add_key(Identity(b"z" * 32), "second")
    for prefix in ("", "nothing"):
        with pytest.raises(UsageError, match=r"ambiguous|there is no key slot"):
            repository.remove_key(prefix)
    assert len(repository.key_slots()) == 2


def test_an_altered_slot_is_noticed() -> None:
    storage = MemoryStorage()
    repository = make_repository(storage)
    name = next(info.name for info in storage.list("keys"))
    document = json.loads(bytes(storage.get(name)))
    document["label"] = "somebody else"
    storage.put(name, msgspec.json.encode(document), must_not_exist=False)
    with pytest.raises(DamageError, match=f"{name}: altered"):
        repository.key_slots()


def test_the_mode_of_the_configuration_must_be_that_of_the_repository() -> None:
    sealed, plain = MemoryStorage(), MemoryStorage()
    make_repository(sealed)
    init_unencrypted(plain)
    with pytest.raises(UsageError, match="names no secret"):
        open_uncached(sealed, None)
    with pytest.raises(UsageError, match="not encrypted"):
        open_uncached(plain, OWNER)


def test_secrets_are_in_no_repr() -> None:
    keyring = new_keyring()
    keys = Keys(REPOSITORY_ID, keyring)
    shown = repr([keyring, keys, Passphrase(b"correct horse"), Identity(b"i" * 32), KeySlot])
    for secret in (keyring.writer_key, keyring.epochs[0].private, b"correct horse", b"i" * 32):
        assert repr(secret)[2:-1] not in shown


def test_what_two_keyrings_call_a_chunk_differs() -> None:
    one, two = Keys(REPOSITORY_ID, new_keyring()), Keys(REPOSITORY_ID, new_keyring())
    assert len({keys.chunk_id(kind, b"content") for keys in (one, two) for kind in ("data", "meta")}) == 4
