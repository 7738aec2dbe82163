"""The docs are true: each command, option, key, exit code and message is told, and each ``holdfast`` line parses."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import typer
from jsonschema import Draft202012Validator
from workshop import reference

from holdfast.cli.main import build_app
from holdfast.config.load import parse_stack
from holdfast.errors import ExitCode

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
REMEDY = "run 'make docs' and commit what it wrote"
FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def command_lines(text: str) -> list[list[str]]:
    """Return the arguments of each ``holdfast`` call in the code blocks of a page.

    Prompts, ``sudo -u USER``, variables set for the call and comments are left out; pipes and redirections end it.
    """
    calls = []
    for language, block in FENCE.findall(text):
        if language in {"yaml", "json", "python"}:
            continue
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            calls += _calls_in(line)
    return calls


def _calls_in(line: str) -> list[list[str]]:
    match = re.match(r"\s*(?:[$#] )?(?:sudo (?:-\w+ \S+ )*)?(?:\w+=\S* )*(?=holdfast(\s|$))", line)
    if match is None:
        return []
    lexer = shlex.shlex(line[match.end() :], posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words = list(lexer)
    end = next((at for at, word in enumerate(words) if set(word) <= set("|&;<>")), len(words))
    return [words[1:end]]


def parse(arguments: list[str]) -> None:
    """Parse a command line as far as can be without running it; raises what the command line itself would raise."""
    context = build_app().make_context("holdfast", list(arguments))
    while hasattr(context.command, "resolve_command"):
        words = [*context._protected_args, *context.args]
        name, command, rest = context.command.resolve_command(context, words)
        context = command.make_context(name, rest, parent=context)


def fault_of(call: list[str]) -> str | None:
    """Return why a command line of the docs cannot be parsed, or None; one that asks for help ends early."""
    try:
        parse(call)
    except typer.TyperException as error:
        return f"holdfast {shlex.join(call)}: {error.format_message()}"
    except typer.Exit as ended:
        return f"holdfast {shlex.join(call)}: exit code {ended.exit_code}" if ended.exit_code else None
    return None


def test_every_command_line_in_the_docs_parses():
    calls = [(page, call) for page in PAGES for call in command_lines(page.read_text())]
    assert calls
    assert [(page.name, fault) for page, call in calls if (fault := fault_of(call))] == []


@pytest.mark.parametrize(
    "call",
    [["no-such-command"], ["config", "shwo"], ["config", "show", "--no-such-option"], ["config", "show", "extra"]],
)
def test_a_wrong_command_line_would_be_noticed(call: list[str]):
    assert fault_of(call) is not None


def test_command_lines_are_found_in_a_page():
    page = """
    holdfast not in a block

```console
$ holdfast -c a.yaml \\
    init   # comment
# sudo -u postgres holdfast backup db
HOLDFAST_CONFIG=x holdfast dump "a b" | tar -x && holdfast ignored-after-a-pipe
error: holdfast is no command here
```
```yaml
holdfast: backup db
```
"""
    assert command_lines(page) == [["-c", "a.yaml", "init"], ["backup", "db"], ["dump", "a b"]]


def test_the_page_of_the_command_line_is_as_the_code():
    assert reference.CLI_PAGE.read_text() == reference.cli_page(), REMEDY


def test_every_command_and_option_says_what_it_is():
    app = build_app()
    silent = [
        f"{' '.join(path)} {param.name}"
        for path, command in [((), app), *reference.commands(app)]
        for param in command.params
        if not param.help
    ]
    assert silent == []
    assert [path for path, command in reference.commands(app) if not command.help] == []


def test_the_page_of_the_stack_file_is_as_the_code():
    assert reference.CONFIG_PAGE.read_text().partition(reference.MARKER)[2] == reference.config_tables(), REMEDY


def test_every_key_of_the_stack_file_says_what_it_is():
    silent = [
        f"{name}.{key}"
        for name, model in reference.config_models().items()
        for key, facts in model["properties"].items()
        if not facts.get("description")
    ]
    assert silent == []
    assert set(reference.SECTIONS) == set(reference.config_models())


def test_every_stack_file_in_the_docs_is_valid():
    blocks = [block for page in PAGES for language, block in FENCE.findall(page.read_text()) if language == "yaml"]
    files = [block for block in blocks if block.startswith("stack:")]
    assert files
    for block in files:
        parse_stack(Path("holdfast.yaml"), block)


def test_every_exit_code_is_told():
    page = (ROOT / "docs/reference/exit-codes.md").read_text()
    assert [code for code in ExitCode if f"| {int(code)} | {code.name} |" not in page] == []
    told = re.findall(r"^\| (\d+) \|", page, re.MULTILINE)
    assert [int(number) for number in told] == [int(code) for code in ExitCode]


@pytest.mark.parametrize("path", sorted((ROOT / "docs/reference/json").glob("*.json")), ids=lambda path: path.name)
def test_every_published_schema_is_one(path: Path):
    schema = json.loads(path.read_text())
    Draft202012Validator.check_schema(schema)
    assert schema["properties"]["message_type"] == {"const": path.stem}
    assert "message_type" in schema["required"]
    assert [
        key for key, facts in schema["properties"].items() if key != "message_type" and "description" not in facts
    ] == []


def test_every_link_between_pages_leads_somewhere():
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", FENCE.sub("", page.read_text()))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []
