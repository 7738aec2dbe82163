"""The units that the how-tos give are accepted by systemd, and call commands that there are, with options they have."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
_UNIT = re.compile(r"`/etc/systemd/system/(?P<name>[^`]+)`:?\n\n```ini\n(?P<content>.*?)```", re.DOTALL)
_PROGRAM = "/usr/local/bin/holdfast"


def units() -> dict[str, str]:
    """Return the content of every unit, by its file name: files of their own, and blocks in the pages."""
    found = {path.name: path.read_text() for path in HOW_TO.glob("*.service")}
    for page in HOW_TO.glob("*.md"):
        found |= {match["name"]: match["content"] for match in _UNIT.finditer(page.read_text())}
    return found


def test_there_are_units_to_look_at():
    names = {
        "holdfast-backup@.service",
        "holdfast-backup@.timer",
        "holdfast-receive@.service",
        "holdfast-wal@.service",
    }
    assert names <= units().keys()


@pytest.mark.parametrize("name", units())
def test_systemd_accepts_it(name, tmp_path):
    for each, content in units().items():
        (tmp_path / each).write_text(content.replace(_PROGRAM, "/bin/true"))
    (tmp_path / "tell-the-operator@.service").write_text("[Service]\nType=oneshot\nExecStart=/bin/true\n")
    answer = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / name.replace("@.", "@db."))],
        check=False,
        capture_output=True,
        text=True,
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
    )
    complaints = [line for line in answer.stderr.splitlines() if str(tmp_path) in line or "holdfast" in line]
    assert (complaints, answer.returncode) == ([], 0), answer.stderr


@pytest.mark.parametrize("name", [name for name, content in units().items() if "ExecStart=" in content])
def test_its_command_line_is_one_that_holdfast_takes(name):
    (line,) = re.findall(r"^ExecStart=(.*)$", units()[name], re.MULTILINE)
    program, *words = shlex.split(line.replace("%i", "db"))
    assert program == _PROGRAM
    options = {word for word in words if word.startswith("-")} - {"-c"}
    command = [word for word in words if word in {"wal", "backup", "serve", "receive", "check", "prune", "forget"}]
    answer = subprocess.run(
        [sys.executable, "-m", "holdfast", *command, "--help"], check=False, capture_output=True, text=True
    )
    assert answer.returncode == 0
    assert [option for option in options if option not in answer.stdout] == []
