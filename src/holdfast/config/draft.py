"""A first stack file, with comments that teach: what ``config generate`` writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from holdfast.errors import ConfigError, reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Draft:
    """What a first stack file is made of; ``connection`` holds no password."""

    stack: str
    url: str
    passphrase_file: Path
    connection: str
    password_file: Path | None = None


def render(draft: Draft, remarks: Sequence[str], archiving: Sequence[str] = ()) -> str:
    """Return the text of the stack file; ``remarks`` (lines about the server) become comments above its service.

    ``archiving`` are the lines that postgresql.conf must be given once archiving is set up.
    """
    password = f"\n    password: {{file: {_scalar(str(draft.password_file))}}}" if draft.password_file else ""
    said = "".join(f"  # {_printable(line)}\n" for remark in remarks for line in remark.splitlines())
    settings = "".join(f"    #   {_printable(line)}\n" for line in archiving)
    return f"""\
# What is backed up, and where to. Every key: docs/reference/configuration.md.
# Check this file with: holdfast config validate
stack: {_scalar(draft.stack)}

repositories:
  main:
    # A directory (best on another machine's disk), or s3://bucket/prefix with its options beside it:
    #   s3: {{endpoint: "https://s3.example.org", region: eu-central-1,
    #        access_key_id: {{file: /etc/holdfast/s3-id}}, secret_access_key: {{file: /etc/holdfast/s3-key}}}}
    url: {_scalar(draft.url)}
    # Without the passphrase (or the recovery identity that 'holdfast init' shows) no backup can be read: keep a
    # copy elsewhere. To make one: (umask 077; openssl rand -base64 24 > {_scalar(str(draft.passphrase_file))})
    passphrase: {{file: {_scalar(str(draft.passphrase_file))}}}
    # compression: auto                 # or none, or zstd-1 to zstd-19
    # limits: {{upload: 20MiB}}           # per second
    # retry_deadline: 5m

services:
{said}  db:
    kind: postgres
    connection: {_scalar(draft.connection)}{password}
    # tags: [production]
    # Every moment, not only those of the backups: 'holdfast wal setup db', then in postgresql.conf (and a restart):
{settings}    # wal: {{queue_limit: 16GiB, when_full: keep}}
"""


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet. Raises ConfigError when it is, or cannot be made."""
    try:
        with path.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{path} is there already", hint="name another file, or move that one away") from error
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {reason_of(error)}",
            hint="name a place that this account may write to",
        ) from error


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def _scalar(text: str) -> str:
    """Return a text as YAML within a line: bare where that is safe, else in double quotes."""
    is_bare = text and all(character.isalnum() or character in "/._-=" for character in text) and text[0] == "/"
    if is_bare and text.isascii():
        return text
    quoted = yaml.safe_dump(text, default_style='"', width=float("inf"), allow_unicode=True)
    return quoted.strip()
