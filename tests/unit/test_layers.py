"""The house keeps its floors: imports go down only (DESIGN.md section 3). Read from the source text, never imported.

An import under TYPE_CHECKING or inside a function counts like any other: what a room knows of is what matters.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "holdfast"

# The one table of layers. A room may import rooms of lower rows, never of its own row or above.
LAYERS = (
    ("__main__",),
    ("cli", "web"),
    ("operations",),
    ("backup", "restore", "drill", "maintenance", "monitoring", "provisioning"),
    ("services",),
    ("wal",),
    ("repository", "postgres"),
    ("storage",),
    ("progress", "model", "clock", "crashpoint", "process", "thread"),
    ("errors", "__init__"),
)
# Sideways, and allowed: a drill is a restore that is thrown away.
SIDEWAYS = {("drill", "restore")}
# `config` stands beside the house: only these read it, and it knows only the ground floor.
CONFIG_READERS = {"operations", "cli", "web"}
CONFIG_MAY_IMPORT = {"progress", "model", "clock", "errors", "__init__"}
# The only place that wires objects knows the storage's drivers and wrappers; all others know its contract.
KNOWS_DRIVERS = {"operations", "storage"}
STORAGE_CONTRACT = "base"
# What all adapters stand on: the contract, and the reading of a tree of files. Everything else there is an adapter.
SERVICES_GROUND = {"base", "filesystem"}

FLOOR = {room: floor for floor, rooms in enumerate(reversed(LAYERS)) for room in rooms}


@dataclass(frozen=True)
class Import:
    """One import of ours by ours: both as parts below ``holdfast``, such as ("services", "postgres", "capture")."""

    importer: tuple[str, ...]
    imported: tuple[str, ...]
    line: int

    def __str__(self) -> str:
        return f"{'.'.join(self.importer)}:{self.line} imports {'.'.join(self.imported)}"


def imports_of(text: str, importer: tuple[str, ...], *, is_package: bool = False) -> list[Import]:
    """Return every import of ``holdfast`` in a module's text."""
    found = []
    for node in ast.walk(ast.parse(text)):
        for name in _imported_names(node, importer, is_package=is_package):
            parts = name.split(".")
            if parts[0] == "holdfast":
                found.append(Import(importer, tuple(parts[1:]) or ("__init__",), node.lineno))
    return found


def _imported_names(node: ast.AST, importer: tuple[str, ...], *, is_package: bool) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom(level=0):
            return [f"{node.module}.{alias.name}" for alias in node.names]
        case ast.ImportFrom():
            package = ["holdfast", *importer] if is_package else ["holdfast", *importer[:-1]]
            package = package[: len(package) - node.level + 1]
            base = ".".join([*package, *([node.module] if node.module else [])])
            return [f"{base}.{alias.name}" for alias in node.names]
        case (
            ast.Call(func=ast.Name(id="__import__" | "import_module"))
            | ast.Call(func=ast.Attribute(attr="import_module"))
        ):
            return [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    return []


def room_of(parts: tuple[str, ...]) -> str:
    """Return the room of a module; a name imported from ``holdfast`` itself (``__version__``) is the ground's."""
    return parts[0] if parts[0] in FLOOR or parts[0] == "config" or len(parts) > 1 else "__init__"


def fault_of(each: Import) -> str | None:
    """Return what is wrong with an import, or None."""
    importer, imported = room_of(each.importer), room_of(each.imported)
    if importer == imported:
        return _fault_inside(each)
    for room in (importer, imported):
        if room != "config" and room not in FLOOR:
            return f"{each}: the room {room!r} is not in the table of layers"
    if "config" in {importer, imported}:
        return _fault_with_config(each, importer, imported)
    if FLOOR[imported] >= FLOOR[importer] and (importer, imported) not in SIDEWAYS:
        return f"{each}: imports go down only"
    if imported == "storage" and importer not in KNOWS_DRIVERS and each.imported[1:2] != (STORAGE_CONTRACT,):
        return f"{each}: only operations wires storage; import holdfast.storage.{STORAGE_CONTRACT}"
    return None


def _fault_inside(each: Import) -> str | None:
    """Adapters never import each other, and what they stand on does not know them."""
    if each.importer[0] != "services" or len(each.importer) == 1 or len(each.imported) == 1:
        return None
    importer, imported = each.importer[1], each.imported[1]
    if imported in {importer, *SERVICES_GROUND}:
        return None
    return f"{each}: adapters never import each other, nor does what they stand on import an adapter"


def _fault_with_config(each: Import, importer: str, imported: str) -> str | None:
    if imported == "config" and importer not in CONFIG_READERS:
        return f"{each}: config is read only by {', '.join(sorted(CONFIG_READERS))}"
    if importer == "config" and imported not in CONFIG_MAY_IMPORT:
        return f"{each}: config knows only the ground floor"
    return None


def imports_below(root: Path) -> list[Import]:
    """Return every import of ours in a source tree."""
    found = []
    for path in sorted(root.rglob("*.py")):
        is_package = path.name == "__init__.py"
        parts = path.relative_to(root).with_suffix("").parts
        importer = parts[:-1] if is_package and len(parts) > 1 else parts
        found += imports_of(path.read_text(), importer, is_package=is_package)
    return found


def test_imports_go_down_only():
    imports = imports_below(SOURCE)
    assert len(imports) > 20, "the source was not found"
    assert [fault for each in imports if (fault := fault_of(each))] == []


def test_no_module_hides_in_a_junk_drawer():
    junk = {"utils", "helpers", "common", "misc", "util", "helper"}
    assert [str(path) for path in SOURCE.rglob("*") if path.stem in junk] == []


@pytest.mark.parametrize(
    ("importer", "text"),
    [
        ("errors", "from holdfast.model import ObjectId"),
        ("model", "import holdfast.clock"),
        ("storage.files", "from holdfast.repository.pack import Pack"),
        ("repository.pack", "from holdfast.postgres.page import Page"),
        ("postgres.server", "from holdfast.repository import index"),
        ("repository.writer", "from holdfast.storage.objects import Objects"),
        ("repository.writer", "from holdfast.storage import memory"),
        ("repository.writer", "import holdfast.storage.retry"),
        ("backup.run", "from holdfast.restore import plan"),
        ("restore.run", "from holdfast.drill import report"),
        ("wal.push", "from holdfast.services import base"),
        ("operations.backup", "from holdfast.cli import output"),
        ("cli.backup", "from holdfast.web import page"),
        ("backup.run", "from holdfast.config.models import Stack"),
        ("config.load", "from holdfast.storage.base import Storage"),
        ("services.postgres.capture", "from holdfast.services.redis import dump"),
        ("services.postgres", "from ..redis import dump"),
        ("services.base", "from holdfast.services.postgres import capture"),
        ("services.filesystem", "from holdfast.services.postgres import capture"),
        ("storage.files", "from ..operations import backup"),
        ("storage.files", "from .. import cli"),
        ("attic.chest", "from holdfast.errors import HoldfastError"),
        ("cli.backup", "from holdfast.attic import chest"),
        ("storage.files", "def late():\n    from holdfast.wal import push"),
        ("storage.files", "if TYPE_CHECKING:\n    from holdfast.wal.push import Push"),
        ("storage.files", "import_module('holdfast.wal.push')"),
        ("storage.files", "importlib.import_module('holdfast.wal.push')"),
    ],
)
def test_the_rules_catch(importer: str, text: str):
    assert [fault for each in imports_of(text, tuple(importer.split("."))) if (fault := fault_of(each))] != []


@pytest.mark.parametrize(
    ("importer", "text"),
    [
        ("drill.sandbox", "from holdfast.restore.plan import Plan"),
        ("operations.wiring", "from holdfast.storage.objects import Objects"),
        ("repository.writer", "from holdfast.storage.base import Storage"),
        ("cli.config", "from holdfast.config.load import load_stack"),
        ("cli.main", "from holdfast import __version__"),
        ("cli.backup", "from holdfast import clock"),
        ("services.postgres.capture", "from holdfast.services.postgres.exclude import EXCLUDED"),
        ("services.postgres.capture", "from holdfast.services.base import Service"),
        ("services.postgres.capture", "from holdfast.services.filesystem import scan_tree"),
        ("config.load", "from holdfast.errors import ConfigError"),
        ("clock", "from holdfast.errors import HoldfastError"),
        ("storage.files", "from . import base"),
        ("storage.files", "import os, holdfasting"),
    ],
)
def test_the_rules_allow(importer: str, text: str):
    assert [fault for each in imports_of(text, tuple(importer.split("."))) if (fault := fault_of(each))] == []
