"""Runs mimseg as a child process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mimseg.cli import main as main_module


def python_environment() -> dict[str, str]:
    source = str(Path(main_module.__file__).parents[2])
    return {**os.environ, "PYTHONPATH": source, "PYTHONIOENCODING": "utf-8"}


def start(*arguments: str, **options: Any) -> subprocess.Popen:
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(
        [sys.executable, *arguments], **{**pipes, **options}, env=python_environment(), text=True, encoding="utf-8"
    )
