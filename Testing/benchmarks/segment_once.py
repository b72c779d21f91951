"""`mimseg segment` on one scan, as the benchmarks of whole scans run it: a process of its own, as a user's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# Codes of the errors that say "another part of the body" and "not in Hounsfield units".
REFUSALS = {"nothing-known", "not-hounsfield"}


def segment(scan: Path, output: Path, model: str) -> str:
    """`taken` if a result was written, else the code of the error; an older `output` is removed before."""
    output.unlink(missing_ok=True)
    command = [sys.executable, "-m", "mimseg", "segment", str(scan), "-o", str(output), "--model", model]
    done = subprocess.run([*command, "--json-lines"], capture_output=True, text=True, encoding="utf-8")
    errors = [event["code"] for event in map(json.loads, done.stdout.splitlines()) if event["event"] == "error"]
    if errors:
        return errors[0]
    return "taken" if done.returncode == 0 and output.is_file() else f"exit code {done.returncode}"
