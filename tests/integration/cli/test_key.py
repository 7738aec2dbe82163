"""Keys are added, shown and removed; what must stay able to decrypt stays."""

from __future__ import annotations

import os

import pytest
from tests.integration.cli.calling import rewrite

from holdfast.repository.identity import parse_identity


def use(stack, **secret: str) -> None:
    """Have the stack file open the repository by another secret, written into a file."""
    ((kind, text),) = secret.items()
    path = stack.directory / f"{kind}-{len(list(stack.directory.iterdir()))}"
    path.write_text(text)
    path.chmod(0o600)

    def change(content):
        repository = content["repositories"]["main"]
        repository.pop("identity", None)
        repository.pop("passphrase", None)
        repository[kind] = {"file": str(path)}

    rewrite(stack, change)


def add(call, stack, *arguments: object) -> dict:
    answer = call(stack, "key", "add", *arguments, "--json")
    assert answer.code == 0, answer
    return answer.message("key_added")


def test_a_new_recovery_identity_is_shown_once_and_opens_alone(copied_stack, call):
    added = add(call, copied_stack, "--recovery", "--label", "in the safe")
    assert parse_identity(added["identity"])
    listed = call(copied_stack, "key", "list", "--json").messages
    assert [(each["id"], each["label"]) for each in listed][-1] == (added["id"], "in the safe")
    stored = (copied_stack.place / "keys" / added["id"]).read_text()
    assert added["identity"].split()[1] not in stored
    use(copied_stack, identity=added["identity"])
    assert call(copied_stack, "dump", "latest", "PG_VERSION").raw == b"15\n"


def test_a_passphrase_from_a_file_opens(copied_stack, call, tmp_path):
    path = tmp_path / "passphrase"
    path.write_text("correct horse\n")
    path.chmod(0o600)
    added = add(call, copied_stack, "--passphrase-file", path)
    assert (added["kind"], added["identity"]) == ("passphrase", None)
    use(copied_stack, passphrase="correct horse")
    assert call(copied_stack, "dump", "latest", "PG_VERSION").raw == b"15\n"
    use(copied_stack, passphrase="wrong horse")
    refused = call(copied_stack, "snapshots", "--json")
    assert refused.code == 12
    assert "horse" not in refused.out + refused.err


def test_a_passphrase_file_that_others_may_read_is_refused(copied_stack, call, tmp_path):
    path = tmp_path / "passphrase"
    path.write_text("correct horse\n")
    path.chmod(0o644)
    before = sorted(os.listdir(copied_stack.place / "keys"))
    refused = call(copied_stack, "key", "add", "--passphrase-file", path, "--json")
    assert refused.code == 2
    assert refused.error["hint"] == f"chmod 600 {path}"
    assert sorted(os.listdir(copied_stack.place / "keys")) == before


def test_a_writer_credential_lists_and_cannot_read_nor_manage(copied_stack, call):
    owner = call(copied_stack, "key", "list", "--json").messages[0]
    added = add(call, copied_stack, "--writer")
    assert added["opens_data"] is False
    use(copied_stack, identity=added["identity"])
    assert len(call(copied_stack, "snapshots", "--json").messages) == 2
    assert call(copied_stack, "ls", "latest").code == 0
    for arguments in (
        ["dump", "latest", "PG_VERSION", "-o", copied_stack.directory / "never"],
        ["key", "add", "--recovery"],
        ["key", "remove", owner["id"]],
        ["check", "--read-data"],
    ):
        refused = call(copied_stack, *arguments, "--json")
        assert (refused.code, refused.error["error"]) == (12, "KeyRefusedError"), arguments
    assert not (copied_stack.directory / "never").exists()
    assert call(copied_stack, "check", "--read-packs").code == 0


def test_the_last_slot_that_decrypts_stays(copied_stack, call):
    slots = call(copied_stack, "key", "list", "--json").messages
    add(call, copied_stack, "--writer")
    used = next(slot for slot in slots if slot["label"] == "first")
    for slot in (slot for slot in slots if slot["opens_data"] and slot != used):
        assert call(copied_stack, "key", "remove", slot["id"][:8], "--json").message("key_removed")["id"] == slot["id"]
    refused = call(copied_stack, "key", "remove", used["id"], "--json")
    assert refused.code == 2
    assert "last key slot" in refused.error["message"]
    assert (copied_stack.place / "keys" / used["id"]).exists()


def test_an_unknown_slot_gets_the_near_ones_and_an_ambiguous_one_all(copied_stack, call):
    known = call(copied_stack, "key", "list", "--json").messages[0]["id"]
    typo = known[:7] + ("0" if known[7] != "0" else "1")
    unknown = call(copied_stack, "key", "remove", typo, "--json")
    assert unknown.code == 2
    assert known[:8] in unknown.error["hint"]
    ambiguous = call(copied_stack, "key", "remove", "", "--json")
    assert ambiguous.code == 2
    assert known in " ".join(ambiguous.error["details"])
    assert len(os.listdir(copied_stack.place / "keys")) == 2


@pytest.mark.parametrize("arguments", [[], ["--recovery", "--writer"]])
def test_one_kind_of_key_is_added_at_a_time(shop, call, arguments: list[str]):
    refused = call(shop.stack, "key", "add", *arguments, "--json")
    assert refused.code == 2
    assert "--passphrase-file" in refused.error["hint"]


def test_words_for_people(copied_stack, call):
    table = call(copied_stack, "key", "list").out
    assert table.splitlines()[0].split() == ["id", "kind", "created", "opens", "data", "label"]
    shown = call(copied_stack, "key", "add", "--writer").out
    assert "HOLDFAST-WRITER-1 " in shown
    assert "not shown again" in shown
