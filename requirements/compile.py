"""Make the lock files from the `.in` files: `python requirements/compile.py [--upgrade]` (needs `pip install uv`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
# In this order: each lock keeps to the versions of those before it.
LOCKS = ("segment", "test", "train", "lint", "slicer")
COMMON = ("uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.10", "--generate-hashes")
FORMAT = ("--only-binary", ":all:", "--no-annotate", "--no-header")


def main() -> int:
    """Run uv once for each lock file and return the first exit code that is not 0."""
    for number, name in enumerate(LOCKS):
        constraints = [part for earlier in LOCKS[:number] for part in ("--constraints", f"{earlier}.txt")]
        if code := compile_lock(name, "--excludes", "excludes.txt", *constraints):
            return code
    return compile_lock("torch", "--no-deps")


def compile_lock(name: str, *options: str) -> int:
    """Write one lock file; its present versions are kept unless `--upgrade` is given."""
    command = [*COMMON, *FORMAT, *options, *sys.argv[1:], f"{name}.in", "--output-file", f"{name}.txt"]
    return subprocess.run(command, cwd=FOLDER, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
