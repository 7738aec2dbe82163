"""Each message type that the command line gives has its schema and its line in the docs, and no schema is left over."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
SPEAKERS = {"emit", "table", "write_message"}


def message_types() -> set[str]:
    """Return the first argument of each call that gives a message, from the source text."""
    found = set()
    for path in (ROOT / "src/holdfast").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _name(node.func) in SPEAKERS and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found.add(first.value)
    return found


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def test_each_message_type_has_a_schema_and_each_schema_a_message():
    published = {path.stem for path in (ROOT / "docs/reference/json").glob("*.json")}
    assert message_types() == published
    assert len(published) > 20


def test_the_page_of_messages_names_each():
    page = (ROOT / "docs/reference/json.md").read_text()
    assert set(re.findall(r"\[(\w+)\]\(json/\1\.json\)", page)) == message_types()
