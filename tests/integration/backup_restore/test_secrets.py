"""A canary passphrase is searched for wherever a process could show it: nobody but its own file has it."""

import contextlib
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from tests.integration.backup_restore.stack import finish, kill, wait_until

CANARY = f"canary-{os.urandom(8).hex()}-hold-this-fast"
"""Of this run only: what another one shows of its own at the same moment is not found here."""


class Watch:
    """Looks at argv and environ of every process, as often as it can, while a block runs."""

    def __init__(self, known=()):
        self.found, self.seen, self._known = [], set(), known
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _look(self):
        while not self._over.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        content = (process / name).read_bytes()
                        self.seen.add(content)
                        if CANARY.encode() in content:
                            self.found.append((process.name, name))


def files_with_canary(*roots):
    paths = [path for root in roots for path in Path(root).rglob("*") if path.is_file()]
    return [path.name for path in paths if CANARY.encode() in path.read_bytes()]


@pytest.fixture
def stack(quiet_cluster, tmp_path):
    from tests.integration.backup_restore.stack import StackDirectory

    directory = tmp_path / "stack"
    directory.mkdir()
    secret = directory / "passphrase"
    secret.write_text(CANARY + "\n")
    secret.chmod(0o600)
    return StackDirectory(directory, {"db": quiet_cluster.conninfo()}, repository={"passphrase": {"file": str(secret)}})


def test_passphrase_shows_nowhere(stack, quiet_cluster, shared_directory):
    """In argv and environ of all processes, output, logs of the server, the repository, the cache, the restore."""
    target = shared_directory / "restored"
    with Watch() as watch:
        runs = [
            stack.run("init"),
            stack.run("-vv", "backup", "db"),
            stack.run("-vv", "restore", "db", "--target", target),
            stack.run("-vv", "snapshots"),
            kill(stack.start("-vv", "backup", "db", "--rehash")),
        ]
        # failures of every kind, with their tracebacks
        (stack.place / "config").rename(stack.directory / "config")
        runs.append(stack.run("-vv", "backup", "db"))
        (stack.directory / "config").rename(stack.place / "config")
        for path in (stack.place / "keys").iterdir():
            path.write_bytes(path.read_bytes()[:-20])
        runs.append(stack.run("-vv", "backup", "db"))
    assert [run.code for run in runs[:4]] == [0, 0, 0, 0]
    assert all(run.code for run in runs[4:])
    assert any(b"holdfast" in content for content in watch.seen)
    assert watch.found == []
    for run in runs:
        assert CANARY not in str(run)
    assert CANARY not in quiet_cluster.log()
    assert files_with_canary(stack.directory, target) == ["passphrase"]


def test_a_crash_leaves_no_core_with_the_passphrase(stack, tmp_path):
    """Dumps are allowed and the kernel would write one, where core_pattern is a file's name: none is made."""
    stack.succeed("init")
    stack.repository["limits"] = {"upload": "1MiB"}
    stack.write()
    allowed = ["sh", "-c", 'ulimit -S -c "$(ulimit -H -c)" && exec "$@"', "sh"]
    started = subprocess.Popen(
        [*allowed, *stack.command("--json", "backup", "db")],
        stdout=subprocess.DEVNULL,
        env=stack.environment,
        cwd=tmp_path,
    )
    wait_until(lambda: any((stack.place / "sessions").glob("*-*")))
    limits = Path(f"/proc/{started.pid}/limits").read_text()
    assert re.search(r"Max core file size +0 ", limits), limits
    started.send_signal(signal.SIGABRT)
    _, status = os.waitpid(started.pid, 0)
    started.returncode = os.waitstatus_to_exitcode(status)
    assert (started.returncode, os.WCOREDUMP(status)) == (-signal.SIGABRT, False)
    assert files_with_canary(tmp_path) == ["passphrase"]


def test_faults_of_ours_show_a_traceback_without_values(stack, tmp_path):
    """A fault injected below the passphrase's reader, with -v: the traceback names lines, not what is in variables."""
    stack.succeed("init")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import cryptography.hazmat.primitives.kdf.argon2 as argon2\n"
        "def fail(*arguments, **named):\n"
        "    raise RuntimeError('injected')\n"
        "argon2.Argon2id = fail\n"
    )
    child = stack.start("-vv", "snapshots", PYTHONPATH=str(broken), HOLDFAST_PASSPHRASE="unused")
    stdout, stderr = child.communicate(timeout=180)
    assert child.returncode == 1, stdout + stderr
    assert "injected" in stdout
    assert "Traceback" in stdout
    assert CANARY not in stdout + stderr
    quiet = stack.start("snapshots", PYTHONPATH=str(broken))
    stdout, stderr = quiet.communicate(timeout=180)
    assert (quiet.returncode, "Traceback" in stdout + stderr) == (1, False)


def test_passphrase_from_the_environment_is_taken_out_of_it(stack):
    """Who passes it so shows it in the environ of that one process; what that process starts does not have it."""
    stack.succeed("init")
    stack.repository["passphrase"] = {"env": "SHOP_PASSPHRASE"}
    stack.write()
    child = stack.start("restore", "db", "--target", "/nonexistent/x", "--dry-run", SHOP_PASSPHRASE=CANARY)
    with Watch() as watch:
        run = finish(child)
    assert run.code == 2
    assert {process for process, _ in watch.found} <= {str(child.pid)}
    assert CANARY not in str(run)
    assert os.environ.get("SHOP_PASSPHRASE") is None
