"""Tab offers the ids of snapshots and key slots, and the services, from the real repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def complete(stack, words: str) -> set[str]:
    """Return what bash would offer for the last word."""
    line = f"holdfast -c {stack.config} {words}"
    position = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "_HOLDFAST_COMPLETE": "complete_bash"}
    child = subprocess.run(
        stack.command()[:3], env={**stack.environment, **position}, capture_output=True, text=True, check=True
    )
    assert child.stderr == ""
    return set(child.stdout.split())


@pytest.mark.parametrize("words", ["show ", "ls ", "dump ", "diff ", "diff latest ", "find x --snapshot "])
def test_snapshots_are_offered(shop, words: str):
    assert complete(shop.stack, words) == {"latest", shop.first["id"][:8], shop.second["id"][:8]}


def test_the_beginning_that_was_typed_counts(shop):
    assert complete(shop.stack, f"show {shop.first['id'][:5]}") == {shop.first["id"][:8]}


@pytest.mark.parametrize("words", ["show --service ", "ls latest --service ", "find x --service "])
def test_services_are_offered(shop, words: str):
    assert complete(shop.stack, words) == {"db"}


def test_key_slots_are_offered(shop, ask):
    slots = {slot["id"][:8] for slot in ask("key", "list", "--json").messages}
    assert complete(shop.stack, "key remove ") == slots


def test_bash_itself_runs_what_is_installed(shop):
    """``--show-completion bash`` prints the script that ``--install-completion`` installs: bash must understand it."""
    program = Path(sys.executable).with_name("holdfast")
    shown = [program, "--show-completion", "bash"]
    script = subprocess.run(shown, env=shop.stack.environment, capture_output=True, text=True, check=True).stdout
    words = f'COMP_WORDS=(holdfast -c "{shop.stack.config}" show ""); COMP_CWORD=4'
    press = f'{words}; _holdfast_completion "{program}"; printf "%s\\n" "${{COMPREPLY[@]}}"'
    child = subprocess.run(
        ["bash", "-c", f"{script}\n{press}"], env=shop.stack.environment, capture_output=True, text=True, check=True
    )
    assert set(child.stdout.split()) == {"latest", shop.first["id"][:8], shop.second["id"][:8]}, child
