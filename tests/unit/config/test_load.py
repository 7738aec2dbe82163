"""The stack file: what it means, where it is found, and everything wrong with it at once, each at its place."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from tests.integration.cli.calling import without_privileges

from holdfast.config.load import find_stack_file, load_stack
from holdfast.errors import ConfigError

SMALLEST = """\
stack: shop
repositories:
  main:
    url: /srv/holdfast              # or s3://bucket/prefix, with its options beside it
    passphrase: {file: /etc/holdfast/passphrase}
services:
  db:
    kind: postgres
    connection: host=/run/postgresql port=5432 user=postgres dbname=postgres
"""
REPOSITORY = "stack: shop\nrepositories:\n  main:\n    url: s3://bucket\n    passphrase: {env: X}\n"
SERVICE = "stack: shop\nrepositories: {main: {url: /a, passphrase: {env: X}}}\nservices:\n  db:\n    kind: postgres\n"


def test_the_smallest_file_and_its_defaults(load):
    stack = load(SMALLEST)
    main = stack.repositories["main"]
    assert (stack.stack, main.url, main.compression, main.retry_deadline) == (
        "shop",
        "/srv/holdfast",
        "auto",
        timedelta(minutes=5),
    )
    assert main.passphrase is not None
    assert main.passphrase.file == Path("/etc/holdfast/passphrase")
    assert (main.identity, main.s3, main.threads, main.limits.upload) == (None, None, None, None)
    service = stack.services["db"]
    assert (service.kind, service.password, service.tags) == ("postgres", None, [])


def test_everything_that_can_be_said(load, tmp_path):
    stack = load(
        REPOSITORY
        + "    s3: {endpoint: 'http://localhost:1', region: r, access_key_id: plain, secret_access_key: {env: K},\n"
        + "      session_token: {env: T}, path_style: true, allow_http: true, ca_file: certs/ca.pem}\n"
        + "    compression: zstd-19\n    limits: {upload: 20MiB, download: 1.5MB}\n"
        + "    retry_deadline: 1h30m\n    threads: 4\n"
        + "services:\n  db: {kind: postgres, connection: 'postgresql://u@h/d', password: {command: [cat, x]},\n"
        + "    data_directory: pg, repository: main, binaries: /usr/lib/postgresql/15/bin, tags: [a, b]}\n"
    )
    main, service = stack.repositories["main"], stack.services["db"]
    assert main.s3 is not None
    assert main.s3.access_key_id == "plain"
    assert main.s3.ca_file == tmp_path / "certs/ca.pem"
    assert (main.limits.upload, main.limits.download) == (20 << 20, 1_500_000)
    assert main.retry_deadline == timedelta(minutes=90)
    assert service.data_directory == tmp_path / "pg"
    assert service.tags == ["a", "b"]


def test_relative_paths_start_at_the_file(load, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/home/someone")
    first, second = "a: {url: repo, passphrase: {file: secrets/p}}", "b: {url: ~/repo, unencrypted: true}"
    stack = load(f"stack: s\nrepositories:\n  {first}\n  {second}\n")
    assert stack.repositories["a"].url == str(tmp_path / "repo")
    assert stack.repositories["b"].url == "/home/someone/repo"
    passphrase = stack.repositories["a"].passphrase
    assert passphrase is not None
    assert passphrase.file == tmp_path / "secrets/p"


def test_no_services_is_allowed(load):
    assert load(REPOSITORY + "services:\n").services == {}


def test_yaml_words_that_look_like_booleans_are_text(load):
    assert load(REPOSITORY.replace("shop", "no")).stack == "no"
    assert load(REPOSITORY.replace("shop", "on")).stack == "on"
    assert load(REPOSITORY.replace("shop", "1:30")[:0] + REPOSITORY.replace("main", "12e3")).repositories.keys() == {
        "12e3"
    }


ALL_WRONG = """\
stack: 5
repositories:
  main:
    url: /srv/holdfast
    passphrse: {file: /etc/holdfast/passphrase}
    limits: {upload: 20}
    threads: "4"
  two:
    url: s3://b/p
    passphrase: hunter2-canary
    s3: {access_key_id: {fle: x}, endpont: x, secret_access_key: {env: a, file: b}}
    retry_deadline: 5
services:
  db:
    kind: postgre
    conection: host=/run
    tags: a
"""


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(refuse):
    lines = refuse(ALL_WRONG)
    assert [line.split(": ")[0] for line in lines[:-1]] == [
        "1:8", "5:5", "6:22", "7:14", "10:17", "11:26", "11:35", "11:66", "12:21", "14:3", "15:11", "16:5", "17:11",
    ]  # fmt: skip
    assert lines[0] == "1:8: stack: expected text, found a number"
    assert lines[1] == "5:5: unknown key 'repositories.main.passphrse' (did you mean 'passphrase'?)"
    assert lines[5] == "11:26: unknown key 'repositories.two.s3.access_key_id.fle' (did you mean 'file'?)"
    assert lines[9] == "14:3: services.db: the key 'connection' is missing"
    assert lines[11] == "16:5: unknown key 'services.db.conection' (did you mean 'connection'?)"
    assert "hunter2-canary" not in "".join(lines)


R, S, C = REPOSITORY, SERVICE, "    connection: x=1\n"  # short, for a table that is read by line


@pytest.mark.parametrize(
    ("text", "complaint", "hint"),
    [
        ("stak: shop\n" + R, "1:1: unknown key 'stak'", "did you mean 'stack'?"),
        (R.replace("stack: shop\n", ""), "1:1: the file: the key 'stack' is missing", None),
        ("- a\n", "1:1: the file: expected a mapping, found a list", None),
        ("stack: shop\nrepositories: {}\n", "2:15: repositories: may not be empty", None),
        ("stack: shop\nrepositories: [a]\n", "2:15: repositories: expected a mapping, found a list", None),
        (R.replace("shop", "'a b'"), "1:8: stack: 'a b' does not fit", "letters, digits"),
        (R + "    passphrase: {env: Y}\n", "6:5: the key 'passphrase' stands here twice", "keep one"),
        (R + "    threads: true\n", "6:14: repositories.main.threads: expected a whole number, found", None),
        (R + "    threads: 0\n", "6:14: repositories.main.threads: expected 1 at least", None),
        (R + "    threads: 65\n", "6:14: repositories.main.threads: expected 64 at most", None),
        (R.replace("X", "''"), "5:23: repositories.main.passphrase.env: may not be empty", None),
        (R.replace("env: X", "command: []"), "5:27: repositories.main.passphrase.command: may not be empty", None),
        (R.replace("main", '"main\\n"'), "4:5: repositories.main\n: 'main\\n' does not fit", "letters"),
        (R + "    unencrypted: 1\n", "6:18: repositories.main.unencrypted: expected true", "true"),
        (R + "    s3: {access_key_id: 1}\n", "6:25: repositories.main.s3.access_key_id: expected a mapping", None),
        (R + "    compression: zstd-20\n", "6:18: repositories.main.compression: not a compression", "zstd-19"),
        (R + "    compression: 3\n", "6:18: repositories.main.compression: expected text, found a number", "quotes"),
        (R + "    limits: {upload: 1XB}\n", "6:22: repositories.main.limits.upload: not a size: '1XB'", "20MiB"),
        (R + "    retry_deadline: soon\n", "6:21: repositories.main.retry_deadline: not a duration", "5m"),
        (R + "    identity: {env: Y}\n", "4:5: repositories.main: a repository has", "passphrase"),
        (R.replace("    passphrase: {env: X}\n", ""), "4:5: repositories.main: a repository has", "pass"),
        (R + "    unencrypted: false\n", "6:18: repositories.main.unencrypted: expected true", "true"),
        (R + "    unencrypted: True\n", "6:18: repositories.main.unencrypted: expected true", "true"),
        (R + f"    limits: {{upload: {'9' * 400}TiB}}\n", "6:22: repositories.main.limits.upload: too large", None),
        (R + f"    retry_deadline: {'9' * 400}d\n", "6:21: repositories.main.retry_deadline: too long", None),
        (R.replace("s3://bucket", "~nobody-here/x"), "4:10: repositories.main.url: nobody's home", "write the path"),
        (R.replace("{env: X}", "{file: ~nobody-here/x}"), "5:24: repositories.main.passphrase.file: nobody", "path"),
        (R.replace("s3://bucket", r'"/a\0b"'), "4:10: repositories.main.url: a repository's url may not hold", None),
        (R.replace("s3://b", "S3://k:s@b"), "4:10: repositories.main.url: a repository's url may not hold", "s3:"),
        (R.replace("s3://bucket", "https://[x@y"), "4:10: repositories.main.url: a repository's url may not", "s3:"),
        (R + "    s3: {endpoint: x}\n", "6:20: repositories.main.s3.endpoint: 'x' does not fit", "https://"),
        (R + "\tthreads: 1\n", "6:1: a tab before the words", "spaces"),
        (R + "    \tthreads: 1\n", "6:5: a tab before the words", "spaces"),
        (R.replace("{env: X}", "{}"), "5:17: repositories.main.passphrase: a secret has exactly one of", None),
        (R.replace("{env: X}", "{env: X, file: y}"), "5:17: repositories.main.passphrase: a secret has", None),
        (R.replace("{env: X}", "{command: pass}"), "5:27: repositories.main.passphrase.command: expected a l", None),
        (R.replace("s3://bucket", "''"), "4:10: repositories.main.url: a repository's url may", None),
        (R.replace("s3://b", "s3://k:s@b"), "4:10: repositories.main.url: a repository's url may not hold", "s3:"),
        (R.replace("s3://bucket", "/srv") + "    s3: {region: r}\n", "4:5: repositories.main: s3 options", None),
        (R + "    s3: {access_key_id: a}\n", "6:9: repositories.main.s3: access_key_id and secret_access", None),
        (R + "    s3: {endpoint: 'http://h'}\n", "6:9: repositories.main.s3: the endpoint has no TLS", "allow_http"),
        (S, "4:3: services.db: the key 'connection' is missing", None),
        (S.replace(": postgres", ": pg") + C, "5:11: services.db.kind: expected 'postgres'", "write 'postgres'"),
        (S.replace(": postgres", ": postgresql") + C, "5:11: services.db.kind: expected", "mean 'postgres'?"),
        (S + C + "    wal: {when_full: dorp}\n", "7:22: services.db.wal.when_full: expected 'keep'", "mean 'drop'?"),
        (S + "    connection: host=h password=x\n", "6:17: services.db.connection: a password may not stand", "file"),
        (S + "    connection: postgresql://u:x@h/d\n", "6:17: services.db.connection: a password may not", "file"),
        (S + "    connection: 'postgres://h/d?password=x'\n", "6:17: services.db.connection: a password", "file"),
        (S + "    connection: 'postgres://u@[::1'\n", "6:17: services.db.connection: the connection is no URL", "like"),
        (S + C + "    wal_summaries: off\n", "7:20: services.db.wal_summaries: expected 'ignore' or 'hint'", "write"),
        (
            S + C + "    wal_summaries: hint\n    method: replication\n",
            "5:5: services.db: wal_summaries: hint",
            "leave",
        ),
        (S + "    connection: x=1\n    repository: other\n", "1:1: the file: service db goes to an unknown", "main"),
        ("a: &x {b: c}\nd: *x\n", "1:4: anchors and aliases are not supported", "write it out"),
        ("stack: [\n", "2:1: ", "YAML"),
        ("stack: !!python/object:os.system x\n", "1:8: this value cannot be read", "YAML"),
        ("? [a]\n: b\n", "1:3: a key must be a plain word", "YAML"),
        ("stack: a\n---\nstack: b\n", "2:1: a second document begins here", "holds one"),
    ],
)
def test_each_mistake_has_its_place_and_its_hint(text: str, complaint: str, hint: str | None, refuse):
    lines = refuse(text)
    assert lines[0].startswith(complaint)
    if hint is not None:
        assert hint in lines[-1]


def test_several_repositories_make_a_service_choose(refuse):
    text = (
        SERVICE.replace("{main: {url", "{two: {url: /b, passphrase: {env: X}}, main: {url") + "    connection: host=h\n"
    )
    assert refuse(text) == [
        "1:1: the file: service db does not say which repository it goes to",
        "HINT: repository: one of two, main",
    ]


@pytest.mark.parametrize("text", ["", "# only a comment\n"])
def test_an_empty_file(text: str, refuse):
    assert refuse(text)[0].endswith("the file is empty")


def test_a_file_of_other_bytes(tmp_path):
    path = tmp_path / "holdfast.yaml"
    path.write_bytes(b"stack: \xff\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_stack(path)
    path.write_bytes(b"stack: \x07\n")
    with pytest.raises(ConfigError, match="not allowed"):
        load_stack(path)
    path.write_bytes(b"#" * (2 << 20))
    with pytest.raises(ConfigError, match="too large"):
        load_stack(path)


@pytest.mark.parametrize(
    ("make", "reason", "hint"),
    [
        (lambda path: None, "no such file", "config generate"),
        (lambda path: path.mkdir(), "is a directory", "the stack file itself"),
    ],
)
def test_a_file_that_cannot_be_read(make, reason: str, hint: str, tmp_path):
    make(tmp_path / "x.yaml")
    with pytest.raises(ConfigError, match=reason) as caught:
        load_stack(tmp_path / "x.yaml")
    assert hint in str(caught.value.hint)


def test_a_file_that_may_not_be_looked_at_is_named(tmp_path):
    """As /etc/holdfast, which only the account of the backups may enter; the child is without the rights of root."""
    closed = tmp_path / "etc"
    closed.mkdir()
    (closed / "holdfast.yaml").touch()
    closed.chmod(0)
    script = (
        "from pathlib import Path; from holdfast.config import load; from holdfast.errors import ConfigError\n"
        f"load.PLACES = (Path({str(tmp_path / 'absent')!r}), Path({str(closed / 'holdfast.yaml')!r}))\n"
        "try: load.load_stack(load.find_stack_file())\n"
        "except ConfigError as error: print(error, '|', error.hint)"
    )
    command = [sys.executable, "-c", script]
    try:
        told = subprocess.run(without_privileges(command), capture_output=True, text=True, check=True).stdout
    finally:
        closed.chmod(0o700)
    assert told.startswith(f"cannot read {closed / 'holdfast.yaml'}: permission denied | run holdfast as the account")


def test_the_file_is_looked_for_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOLDFAST_CONFIG", raising=False)
    monkeypatch.setattr("holdfast.config.load.PLACES", (Path("holdfast.yaml"), tmp_path / "etc.yaml"))
    with pytest.raises(ConfigError) as caught:
        find_stack_file()
    assert caught.value.hint is not None
    (tmp_path / "etc.yaml").touch()
    assert find_stack_file() == tmp_path / "etc.yaml"
    (tmp_path / "holdfast.yaml").touch()
    assert find_stack_file() == Path("holdfast.yaml")
    monkeypatch.setenv("HOLDFAST_CONFIG", "/named.yaml")
    assert find_stack_file() == Path("/named.yaml")
    assert find_stack_file(Path("asked.yaml")) == Path("asked.yaml")
