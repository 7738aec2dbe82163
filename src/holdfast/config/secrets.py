"""Secrets: the stack file says where each one is, never what it is.

A secret is read when it is needed and carried as a Secret, which shows nothing of itself: not in a traceback, not
in a log line, not in ``config show``. Whoever truly needs the text calls ``reveal`` and keeps it out of sight.
"""

from __future__ import annotations

import os
import select
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, NoReturn

from msgspec import Meta

from holdfast import clock
from holdfast.config.base import Before, ConfigModel, LocalPath, MistakeError
from holdfast.errors import ConfigError, reason_of

COMMAND_TIMEOUT_S = 30.0
MAX_SECRET_BYTES = 65536
KINDS = ("file", "env", "credential", "command", "keyring")

_OTHER_SOURCE = "name what holds the secret, as a line of text"

_taken_from_environment: dict[str, str] = {}


class Secret:
    """A text that must not be seen. ``str``, ``repr`` and formatting give a mask; it cannot be pickled."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(****)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not written down")


class SecretSource(ConfigModel, frozen=True):
    """Where a secret is: exactly one of these keys."""

    SCHEMA: ClassVar[Mapping[str, object]] = {"minProperties": 1, "maxProperties": 1}

    file: LocalPath | None = None
    """A file that only its owner may read (mode 0600 or less); one trailing newline is not part of the secret."""
    env: Annotated[str, Meta(min_length=1)] | None = None
    """An environment variable; it is taken out of the environment when read, so that children do not inherit it."""
    credential: Annotated[str, Meta(pattern=r"^[^/\x00]+$")] | None = None
    """A systemd credential: the file of this name in $CREDENTIALS_DIRECTORY."""
    command: Annotated[list[str], Meta(min_length=1)] | None = None
    """A program and its arguments; what it prints is the secret. No shell is involved."""
    keyring: Annotated[str, Meta(pattern=r"^[^/]+/.+$")] | None = None
    """``service/user`` in the system's keyring; needs the extra "keyring"."""

    def check(self) -> None:
        """Require one."""
        if sum(getattr(self, kind) is not None for kind in KINDS) != 1:
            raise MistakeError(f"a secret has exactly one of {', '.join(KINDS)}")

    def __str__(self) -> str:
        kind = next(kind for kind in KINDS if getattr(self, kind) is not None)
        place = getattr(self, kind)
        return f"{kind} {place[0] if isinstance(place, list) else place}"

    def read(self) -> Secret:
        """Return the secret. Raises ConfigError, which names the source and never the content."""
        text = self._read_raw()
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise ConfigError(f"the secret is empty: {self}", hint="put the secret there, or name another source")
        return Secret(text)

    def _read_raw(self) -> str:
        if self.file is not None:
            return _read_file(self.file)
        if self.env is not None:
            return _take_variable(self.env)
        if self.credential is not None:
            return _read_credential(self.credential)
        if self.command is not None:
            return _read_command(self.command)
        assert self.keyring is not None
        return _read_keyring(self.keyring)


def _refuse_plain(value: object, _: Path) -> object:
    if isinstance(value, str):
        raise MistakeError(
            "a secret may not stand in the stack file itself",
            hint="put it in a file, chmod 600, and write {file: /path/to/it}; or use {env: …}, {credential: …}, "
            "{command: […]}, {keyring: …}",
        )
    return value


SecretField = Annotated[SecretSource, Before(_refuse_plain)]
"""A secret in a model: a mapping that says where it is; a plain string is refused."""


def _read_file(path: Path) -> str:
    def without_waiting(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NONBLOCK)  # a FIFO is refused, not waited for

    try:
        with open(path, "rb", opener=without_waiting) as opened:
            _require_private(path, os.fstat(opened.fileno()))
            content = opened.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    return _decode(content, f"file {path}")


def _require_private(path: Path, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise ConfigError(f"the secret file is not a file: {path}", hint="name an ordinary file, or {command: […]}")
    if facts.st_mode & 0o077:
        raise ConfigError(f"others may read the secret file: {path}", hint=f"chmod 600 {path}")
    if os.geteuid() and facts.st_uid not in {0, os.geteuid()}:  # root may use what is another account's
        raise ConfigError(
            f"the secret file belongs to another user: {path}", hint=f"chown it to root or to uid {os.geteuid()}"
        )


def _take_variable(name: str) -> str:
    if name in os.environ:
        _taken_from_environment[name] = os.environ.pop(name)
    if name not in _taken_from_environment:
        raise ConfigError(f"the environment variable of a secret is not set: {name}", hint=f"set {name} for this run")
    return _taken_from_environment[name]


def _read_credential(name: str) -> str:
    """Read a systemd credential; systemd itself guards the directory (systemd.exec(5), "LoadCredential=")."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise ConfigError(
            f"no credentials directory, wanted for the secret {name!r}",
            hint=f"run as a systemd service with LoadCredential={name}:/path/to/it",
        )
    path = Path(directory, name)
    try:
        return _decode(path.read_bytes(), f"credential {name}")
    except OSError as error:
        raise _unreadable(path, error) from error


def _read_command(arguments: list[str]) -> str:
    program = arguments[0]
    try:
        child = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
    except (OSError, ValueError) as error:
        raise _failed_command(program, "cannot be run") from error
    with child:
        try:
            printed = _printed_by(child, program)
        except BaseException:
            child.kill()
            raise
    if child.returncode != 0:
        raise _failed_command(program, f"failed with exit code {child.returncode}")
    return _decode(printed, f"command {program}")


def _printed_by(child: subprocess.Popen[bytes], program: str) -> bytes:
    """Return what a program prints until it ends; ConfigError when it does not, or prints more than any secret."""
    assert child.stdout is not None
    until, printed = clock.monotonic() + COMMAND_TIMEOUT_S, b""
    late = _failed_command(program, f"gave no answer in {COMMAND_TIMEOUT_S:.0f} s")
    while len(printed) <= MAX_SECRET_BYTES:
        if not select.select([child.stdout], [], [], max(until - clock.monotonic(), 0))[0]:
            raise late
        part = os.read(child.stdout.fileno(), MAX_SECRET_BYTES)
        printed += part
        if not part:
            try:
                child.wait(max(until - clock.monotonic(), 0))
            except subprocess.TimeoutExpired:
                raise late from None
            return printed
    raise _failed_command(program, f"prints more than {MAX_SECRET_BYTES} bytes")


def _failed_command(program: str, what: str) -> ConfigError:
    return ConfigError(
        f"the command of a secret {what}: {program}",
        hint="try it by hand, as this account and without a terminal: it must print the secret and nothing else",
    )


def _read_keyring(place: str) -> str:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError as error:
        raise ConfigError("no keyring support is installed", hint="pip install 'holdfast[keyring]'") from error
    service, _, user = place.partition("/")
    try:
        found = keyring.get_password(service, user)
    except KeyringError as error:
        raise ConfigError(
            f"the keyring cannot be read: {type(error).__name__}", hint=f"try: keyring get {service} {user}"
        ) from error
    if found is None:
        raise ConfigError(f"the keyring has no entry for {place}", hint=f"keyring set {service} {user}")
    return str(found)


def _decode(content: bytes, source: str) -> str:
    if len(content) > MAX_SECRET_BYTES:
        raise ConfigError(f"too long for a secret (above {MAX_SECRET_BYTES} bytes): {source}", hint=_OTHER_SOURCE)
    try:
        return content.decode()
    except UnicodeDecodeError:
        # not chained: the original holds the bytes
        raise ConfigError(f"the secret is not UTF-8 text: {source}", hint=_OTHER_SOURCE) from None


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot read the secret file {path}: {reason_of(error)}",
        hint="a passphrase of your own making: (umask 077; openssl rand -base64 24 > FILE), and keep a copy elsewhere"
        if isinstance(error, FileNotFoundError)
        else f"it must be readable for uid {os.geteuid()}",
    )
