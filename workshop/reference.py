"""Writes the reference pages that are made from the code, so that they cannot be wrong: ``make docs``.

``docs/reference/cli.md`` whole, from the commands' own help; of ``docs/reference/configuration.md`` what follows its
marker line, from the models' docstrings. The docs test compares both with what stands in the files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup

from holdfast.cli.deferred import DeferredCommand
from holdfast.cli.main import build_app
from holdfast.config.models import Stack
from holdfast.config.schema import json_schema

ROOT = Path(__file__).parents[1]
CLI_PAGE = ROOT / "docs/reference/cli.md"
CONFIG_PAGE = ROOT / "docs/reference/configuration.md"
MARKER = "<!-- What follows is written by 'make docs' from src/holdfast/config. -->\n"
CLI_HEAD = """# The command line

<!-- Written by 'make docs' from src/holdfast/cli. -->

Exit codes: [exit-codes.md](exit-codes.md). JSON messages: [json/](json/).
"""

SECTIONS = {
    "Stack": "The file",
    "RepositoryConfig": "repositories.NAME",
    "S3Config": "repositories.NAME.s3",
    "LimitsConfig": "repositories.NAME.limits",
    "PostgresConfig": "services.NAME, kind: postgres",
    "RestoreConfig": "services.NAME.restore",
    "WalConfig": "services.NAME.wal",
    "ServerConfig": "services.NAME.restore.server",
    "PgCtlConfig": "services.NAME.restore.server.pg_ctl",
    "SecretSource": "In place of a secret",
}

Command = TyperCommand | TyperGroup


def commands(group: TyperGroup, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Command]]:
    """Return every command below a group, loaded, with the words that call it; groups stand before their commands."""
    found: list[tuple[tuple[str, ...], Command]] = []
    for name, entry in group.commands.items():
        command = entry.load() if isinstance(entry, DeferredCommand) else entry
        assert isinstance(command, TyperCommand | TyperGroup)
        found.append(((*path, name), command))
        if isinstance(command, TyperGroup):
            found += commands(command, (*path, name))
    return found


def cli_page() -> str:
    """Return docs/reference/cli.md."""
    app = build_app()
    shared = {param.name for command in app.commands.values() for param in command.params if not param.expose_value}
    sections = [CLI_HEAD, "## Options of every command\n", "They may stand before or after the command's name.\n"]
    sections.append(_options([param for param in app.params if param.name in shared]))
    sections.append("## Options of holdfast alone\n")
    sections.append(_options([param for param in app.params if param.name not in shared]))
    sections += [_section(path, command) for path, command in commands(app)]
    return "\n".join(sections)


def _section(path: tuple[str, ...], command: Command) -> str:
    arguments: list[Any] = [param for param in command.params if param.param_type_name == "argument"]
    options = [param for param in command.params if param.param_type_name == "option" and param.expose_value]
    lines = [f"## holdfast {' '.join(path)}\n", f"{(command.help or '').strip()}\n"]
    if isinstance(command, TyperGroup):
        return "\n".join(lines)
    if arguments:
        lines += [*(f"- `{_metavar(argument)}`: {argument.help}" for argument in arguments), ""]
    if options:
        lines.append(_options(options))
    return "\n".join(lines)


def _options(params: list[Any]) -> str:
    return "\n".join([*(f"- {_names(param)}: {param.help}" for param in params), ""])


def _names(param: Any) -> str:  # noqa: ANN401 - typer names this type privately
    takes_value = not (param.is_flag or param.count)
    names = [*param.opts, *param.secondary_opts]
    value = _metavar(param) if takes_value else ""
    gap = "" if value.startswith("[=") or not value else " "
    return ", ".join(f"`{name}{gap}{value}`" for name in names)


def _metavar(param: Any) -> str:  # noqa: ANN401 - typer names this type privately
    name = param.metavar or param.name.upper()
    return f"{name}…" if param.nargs == -1 else str(name)


def config_models() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of every mapping of the stack file by the name of its model."""
    schema = json_schema(Stack)
    return {"Stack": schema, **schema["$defs"]}


def config_tables() -> str:
    """Return what stands below the marker in docs/reference/configuration.md."""
    models = config_models()
    ordered = [*SECTIONS, *(name for name in models if name not in SECTIONS)]
    return "".join(_table(SECTIONS.get(name, name), models[name]) for name in ordered)


def _table(title: str, model: dict[str, Any]) -> str:
    required = model.get("required", [])
    lines = [
        f"\n## {title}\n",
        f"{_prose(model['description'])}\n",
        "| key | default | meaning |",
        "| --- | --- | --- |",
    ]
    for key, facts in model["properties"].items():
        default = "required" if key in required else _default(facts)
        lines.append(f"| `{key}` | {default} | {_prose(facts.get('description', ''))} |")
    return "\n".join(lines) + "\n"


def _prose(docstring: str) -> str:
    return " ".join(docstring.replace("``", "`").split()).replace("|", "\\|")


def _default(facts: dict[str, Any]) -> str:
    default = facts.get("default")
    match default:
        case None | {} | []:
            return ""
        case bool():
            return f"`{str(default).lower()}`"
    return f"`{default}`"


def write() -> None:
    """Write both pages."""
    CLI_PAGE.write_text(cli_page())
    kept = CONFIG_PAGE.read_text().partition(MARKER)[0]
    CONFIG_PAGE.write_text(kept + MARKER + config_tables())


if __name__ == "__main__":
    write()
