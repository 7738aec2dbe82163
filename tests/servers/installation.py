"""Holdfast as an installation that the account of the servers can run: PostgreSQL calls it as ``archive_command``.

Where that account can run this very Python (ours is its own, or nothing lies below a closed home directory), the
installation under test is used as it is. Else the interpreter is linked, or copied, to where it can be reached.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.servers.postgres import account, make_shared_directory

_LEFT_OUT = shutil.ignore_patterns("test", "tests", "idlelib", "ensurepip", "lib2to3", "config-*", "site-packages")


@functools.cache
def holdfast_directory() -> Path:
    """Return the directory that holds ``holdfast`` and ``python``, both fit for the servers' account."""
    own = Path(sys.executable).parent
    if _is_runnable(own / "python"):
        return own
    directory = make_shared_directory()
    atexit.register(shutil.rmtree, directory)
    _link_python(directory)
    if not _is_runnable(directory / "bin" / "python"):
        raise RuntimeError(f"no Python that the account {account().uid} can run; {_packages()} must be readable for it")
    return directory / "bin"


def _is_runnable(python: Path) -> bool:
    command = [str(python), "-I", "-c", "import holdfast.cli.entry, msgspec, blake3"]
    try:
        answer = subprocess.run(command, capture_output=True, cwd="/", check=False, **account().child_identity())
    except PermissionError:
        return False
    return answer.returncode == 0


def _link_python(directory: Path) -> None:
    """Lay out a virtual environment over a linked interpreter, ``base``; packages stay where they are."""
    base = directory / "base"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (base / "bin").mkdir(parents=True)
    _link_or_copy(os.path.realpath(sys.executable), base / "bin" / version)
    shutil.copytree(sysconfig.get_path("stdlib"), base / "lib" / version, ignore=_LEFT_OUT, copy_function=_link_or_copy)
    library = Path(sysconfig.get_config_var("LIBDIR") or "", sysconfig.get_config_var("INSTSONAME") or "")
    if library.is_file():
        _link_or_copy(library, base / "lib" / library.name)
    packages = directory / "lib" / version
    packages.mkdir(parents=True)
    (packages / "site-packages").symlink_to(_packages())
    (directory / "pyvenv.cfg").write_text(f"home = {base / 'bin'}\ninclude-system-site-packages = false\n")
    (directory / "bin").mkdir()
    (directory / "bin" / version).symlink_to(base / "bin" / version)
    start = f"#!/bin/sh\nLD_LIBRARY_PATH={base / 'lib'} exec {directory / 'bin' / version}"
    _write_program(directory / "bin" / "python", f'{start} "$@"\n')
    call = "'from holdfast.cli.entry import run; run()'"
    _write_program(directory / "bin" / "holdfast", f'{start} -I -c {call} "$@"\n')


def _packages() -> str:
    return sysconfig.get_path("purelib")


def _write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _link_or_copy(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
