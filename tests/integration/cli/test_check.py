"""``holdfast check`` says what was proven and what was not, and for damage what comes next; exit code 14."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.model import new_object_id
from holdfast.repository.snapshot import encode_snapshot


@pytest.mark.parametrize(
    ("options", "read", "opened"),
    [
        ([], False, False),
        (["--read-packs"], True, False),
        (["--read-data"], True, True),
        (["--read-data=100"], True, True),
    ],
)
def test_the_last_lines_say_what_was_proven(shop, call, options: list[str], read: bool, opened: bool):
    answer = call(shop.stack, "check", *options)
    assert answer.code == 0
    head, _, not_proven = answer.out.partition("not proven:")
    assert "no damage found" in head
    assert ("  read:" in head, "  opened:" in head) == (read, opened)
    assert ("--read-packs" in not_proven, "--read-data" in not_proven) == (not read, not opened)
    report = call(shop.stack, "check", *options, "--json").message("check_report")
    assert report["is_clean"]
    assert report["proven"]
    assert report["not_proven"]


def test_a_percentage_reads_a_part(shop, call):
    report = call(shop.stack, "check", "--read-data=1", "--json").message("check_report")
    assert any("not opened" in line for line in report["not_proven"])
    assert any(line.startswith("opened") for line in report["proven"])


@pytest.mark.parametrize("value", ["101", "-1", "much"])
def test_what_is_no_percentage_is_refused(shop, call, value: str):
    refused = call(shop.stack, "check", f"--read-data={value}", "--json")
    assert refused.code == 2
    assert refused.error["hint"]


def test_a_percentage_without_its_equals_sign_gets_the_right_way_to_write_it(shop, call):
    refused = call(shop.stack, "--json", "check", "--read-data", "5")
    assert refused.code == 2
    assert refused.error["hint"] == "write --read-data=5"


def test_damage_is_told_with_what_it_hits_and_what_comes_next(shop, copied_stack, call):
    pack = max((path for path in (copied_stack.place / "packs" / "data").rglob("*") if path.is_file()), key=_size)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)
    assert call(copied_stack, "check").code == 0, "structure alone cannot know"
    for option in ("--read-packs", "--read-data"):
        answer = call(copied_stack, "check", option)
        assert answer.code == 14
        assert f"damage: {pack.relative_to(copied_stack.place)}" in answer.out
        assert "next: replace" in answer.out
        assert shop.first["id"][:8] in answer.out
    (damage,) = call(copied_stack, "check", "--read-data", "--json").message("check_report")["damages"]
    assert damage["kind"] == "pack-altered"
    assert shop.first["id"] in damage["snapshots"]
    assert damage["file_count"] >= 1
    assert pack.read_bytes() == content, "a check changes nothing"


def test_a_pack_that_is_gone_is_noticed_by_structure_alone(copied_stack, call):
    pack = max((path for path in (copied_stack.place / "packs" / "data").rglob("*") if path.is_file()), key=_size)
    pack.unlink()
    answer = call(copied_stack, "check", "--json")
    assert answer.code == 14
    assert "pack-absent" in {damage["kind"] for damage in answer.message("check_report")["damages"]}


def _size(path) -> int:
    return path.stat().st_size


def test_a_snapshot_whose_facts_cannot_be_is_damage(copied_stack, call):
    """Every command that plans with it refuses it: a check that called it sound would help nobody."""
    repository = copied_stack.open()
    last = repository.snapshots()[-1]
    odd = msgspec.structs.replace(last, id=new_object_id(), facts={**last.facts, "timeline": 0})
    repository.storage.put(odd.object_name, encode_snapshot(repository.keys, odd))
    answer = call(copied_stack, "check", "--json")
    assert answer.code == 14
    (damage,) = answer.message("check_report")["damages"]
    assert (damage["kind"], damage["object_name"], damage["snapshots"]) == ("snapshot", odd.object_name, [odd.id])
    assert "facts cannot be read" in damage["reason"]
    refused = call(copied_stack, "show", odd.id, "--json")
    assert (refused.code, refused.error["error"]) == (14, "DamageError")
