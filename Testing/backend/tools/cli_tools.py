"""Runs mimseg as a child process, and loads `run.py`."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
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


def run_program() -> ModuleType:
    """`run.py` of this checkout, as a module of its own."""
    path = Path(__file__).resolve().parents[3] / "run.py"
    specification = importlib.util.spec_from_file_location("run", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
