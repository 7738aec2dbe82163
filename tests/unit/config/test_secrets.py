"""Secrets come from where they are said to be, are refused when others may read them, and stay hidden."""

from __future__ import annotations

import os
import pickle
import resource
import stat
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING

import pytest

from holdfast.config.secrets import Secret, SecretSource
from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "canary-51d0-do-not-show"


def shown_by(error: BaseException) -> str:
    """Return all that a traceback could print of an error: its causes, contexts and notes."""
    return "".join(traceback.format_exception(error))


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(CANARY + "\n")
    path.chmod(0o600)
    return path


def refusal(source: SecretSource) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        source.read()
    assert CANARY not in shown_by(caught.value) + str(caught.value.hint)
    assert caught.value.hint
    return caught.value


def test_a_secret_shows_nothing_of_itself():
    secret = Secret(CANARY)
    assert CANARY not in f"{secret}{secret!r}{[secret]}{ {'a': secret} }"
    assert secret.reveal() == CANARY
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize(
    ("content", "expected"), [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a "), ("ü", "ü")]
)
def test_one_newline_at_the_end_is_not_part_of_it(content: str, expected: str, secret_file: Path):
    secret_file.write_bytes(content.encode())
    assert SecretSource(file=secret_file).read().reveal() == expected


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o610, 0o601])
def test_a_file_that_others_may_read_is_refused(mode: int, secret_file: Path):
    secret_file.chmod(mode)
    error = refusal(SecretSource(file=secret_file))
    assert error.hint == f"chmod 600 {secret_file}"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_that_only_its_owner_may_read_is_taken(mode: int, secret_file: Path):
    secret_file.chmod(mode)
    assert SecretSource(file=secret_file).read().reveal() == CANARY


def test_a_file_of_another_user_is_refused(secret_file: Path, monkeypatch):
    """What fstat says is real; who we are is played, since a test need not run as root."""
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    if stat.S_ISREG(secret_file.stat().st_mode) and secret_file.stat().st_uid == 0:
        assert SecretSource(file=secret_file).read().reveal() == CANARY
        os.chown(secret_file, 12345, 12345)
    assert "another user" in refusal(SecretSource(file=secret_file)).message


def test_what_is_no_file_is_refused(tmp_path: Path, secret_file: Path):
    assert "is a directory" in refusal(SecretSource(file=tmp_path)).message
    os.mkfifo(tmp_path / "fifo")
    assert "not a file" in refusal(SecretSource(file=tmp_path / "fifo")).message
    assert "no such file" in refusal(SecretSource(file=tmp_path / "absent")).message
    secret_file.write_text("\n")
    assert "empty" in refusal(SecretSource(file=secret_file)).message
    secret_file.write_bytes(CANARY.encode() + b"\xff")
    assert "not UTF-8" in refusal(SecretSource(file=secret_file)).message
    secret_file.write_text(CANARY * 4000)
    assert "too long" in refusal(SecretSource(file=secret_file)).message


def test_a_variable_is_taken_out_of_the_environment(monkeypatch):
    monkeypatch.setenv("HOLDFAST_UNIT_SECRET", CANARY)
    source = SecretSource(env="HOLDFAST_UNIT_SECRET")
    assert source.read().reveal() == CANARY
    assert "HOLDFAST_UNIT_SECRET" not in os.environ
    assert CANARY.encode() not in os.environb.values()
    assert source.read().reveal() == CANARY
    assert "not set" in refusal(SecretSource(env="HOLDFAST_UNIT_ABSENT")).message


def test_a_systemd_credential(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    source = SecretSource(credential="passphrase")
    assert "LoadCredential=passphrase:" in str(refusal(source).hint)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert "no such file" in refusal(source).message
    (tmp_path / "passphrase").write_text(CANARY)
    assert source.read().reveal() == CANARY


@pytest.mark.parametrize("name", ["../etc/passwd", "a/b", ""])
def test_a_credential_is_a_name_not_a_path(name: str, refuse):
    (line, *_) = refuse(f"stack: s\nrepositories: {{a: {{url: /a, passphrase: {{credential: '{name}'}}}}}}\n")
    assert f"passphrase.credential: {name!r} does not fit" in line


def test_a_command():
    assert SecretSource(command=["printf", "%s\n", CANARY]).read().reveal() == CANARY
    assert SecretSource(command=["echo", "$HOME; ls"]).read().reveal() == "$HOME; ls"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (f"import sys; print('{CANARY}'); sys.exit('{CANARY}')", "exit code 1"),
        (f"import sys; sys.stderr.write('{CANARY}')", "empty"),
        ("import os; os.kill(os.getpid(), 9)", "exit code -9"),
    ],
)
def test_a_command_that_fails_shows_nothing(code: str, words: str, capfd):
    assert words in refusal(SecretSource(command=[sys.executable, "-c", code])).message.replace(CANARY, "")
    shown = capfd.readouterr()
    assert CANARY not in shown.out + shown.err


def test_a_command_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr("holdfast.config.secrets.COMMAND_TIMEOUT_S", 0.5)
    code = f"import time; print('{CANARY}', flush=True); time.sleep(60)"
    assert "no answer" in refusal(SecretSource(command=[sys.executable, "-c", code])).message


def test_a_command_that_closes_its_output_and_goes_on_is_given_up(monkeypatch):
    monkeypatch.setattr("holdfast.config.secrets.COMMAND_TIMEOUT_S", 0.5)
    code = "import os, time; os.close(1); time.sleep(60)"
    assert "no answer" in refusal(SecretSource(command=[sys.executable, "-c", code])).message


def test_a_command_that_prints_without_end_is_ended_soon():
    """It was read for half a minute, some gigabytes each second: the machine's memory was gone before."""
    used_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "prints more than 65536 bytes" in refusal(SecretSource(command=["cat", "/dev/zero"])).message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used_kib < 50_000


def test_a_command_that_does_not_exist():
    assert "cannot be run" in refusal(SecretSource(command=["/no/such/program", CANARY])).message


def test_the_source_in_words_is_never_more_than_where_it_is():
    assert str(SecretSource(command=["pass", CANARY])) == "command pass"
    assert str(SecretSource(env="X")) == "env X"


def test_keyring_needs_its_extra_or_an_entry():
    error = refusal(SecretSource(keyring="holdfast/shop"))
    assert "keyring" in error.message


def test_the_keyring_is_asked_for_the_user_of_the_service(tmp_path):
    """The library is an extra, which is not installed here; a module with its two names stands for it."""
    package = tmp_path / "keyring"
    package.mkdir()
    (package / "errors.py").write_text("class KeyringError(Exception): pass\n")
    (package / "__init__.py").write_text(
        "from keyring.errors import KeyringError\n"
        "def get_password(service, user):\n"
        "    if service == 'locked': raise KeyringError\n"
        f"    return {CANARY!r} if (service, user) == ('holdfast', 'shop/main') else None\n"
    )
    code = (
        "from holdfast.config.secrets import SecretSource; from holdfast.errors import ConfigError\n"
        "print(SecretSource(keyring='holdfast/shop/main').read().reveal())\n"
        "for place in ('holdfast/other', 'locked/x'):\n"
        "    try: SecretSource(keyring=place).read()\n"
        "    except ConfigError as error: print(error, '|', error.hint)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert told.stdout.splitlines() == [
        CANARY,
        "the keyring has no entry for holdfast/other | keyring set holdfast other",
        "the keyring cannot be read: KeyringError | try: keyring get locked x",
    ]


def test_root_may_use_a_file_of_another_account(secret_file: Path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert SecretSource(file=secret_file).read().reveal() == CANARY
