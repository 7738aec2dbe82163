"""``python -m holdfast`` is the same as ``holdfast``: for machines where the console script is not on the PATH."""

from __future__ import annotations

from holdfast.cli.entry import run

if __name__ == "__main__":
    run()
