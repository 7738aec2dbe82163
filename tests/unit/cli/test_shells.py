"""Completion is installed for the shell that is named, whichever shell runs the command."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PLACES = {
    "bash": ".bash_completions/holdfast.sh",
    "zsh": ".zfunc/_holdfast",
    "fish": ".config/fish/completions/holdfast.fish",
}


def holdfast(home, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line from a shell that is none of the three."""
    command = ["sh", "-c", '"$@"', "sh", sys.executable, "-m", "holdfast", *arguments]
    environment = {**os.environ, "HOME": str(home)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("shell", PLACES)
def test_the_shell_that_is_named_completes(shell: str, tmp_path):
    installed = holdfast(tmp_path, "--install-completion", shell)
    assert (installed.returncode, installed.stderr) == (0, "")
    place = tmp_path / PLACES[shell]
    assert str(place) in installed.stdout
    shown = holdfast(tmp_path, "--show-completion", shell)
    assert shown.returncode == 0
    assert shown.stdout.strip() in place.read_text()
    assert f"complete_{shell}" in shown.stdout
    others = [other for other in PLACES if other != shell and (tmp_path / PLACES[other]).exists()]
    assert not others


@pytest.mark.parametrize("option", ["--install-completion", "--show-completion"])
def test_another_shell_is_refused(option: str, tmp_path):
    refused = holdfast(tmp_path, option, "csh")
    assert refused.returncode == 2
    assert refused.stderr == "error: no completion for the shell 'csh'\nHINT: there is one for bash, zsh, fish\n"


def test_a_home_that_cannot_be_written(tmp_path):
    home = tmp_path / "home"
    home.write_text("not a directory")
    refused = holdfast(home, "--install-completion", "bash")
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"error: cannot write {home}")
    assert "--show-completion bash" in refused.stderr
