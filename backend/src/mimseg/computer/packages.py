"""The packages that mimseg builds on: which are installed, in which version, and whether they work.

Nothing is imported into this process: a broken package must not break the one who looks for it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from mimseg.computer.processor import NO_WINDOW
from mimseg.stopping import check

PROBE = Path(__file__).with_name("probe.py")
Purpose = Literal["segment", "train", "dicom"]
State = Literal["works", "installed", "missing", "too old", "broken"]


@dataclass(frozen=True)
class Requirement:
    """A package that mimseg needs.

    Attributes:
        name: Name of the distribution, as pip knows it.
        module: Name to import.
        minimum: Least version.
        purpose: What it is needed for.
    """

    name: str
    module: str
    minimum: str
    purpose: Purpose


# The same as in pyproject.toml (a test compares them), in the order in which they are imported.
REQUIREMENTS = (
    Requirement("numpy", "numpy", "1.26", "segment"),
    Requirement("SimpleITK", "SimpleITK", "2.4", "segment"),
    Requirement("pydicom", "pydicom", "2.4", "segment"),
    Requirement("openvino", "openvino", "2025.4", "segment"),
    Requirement("highdicom", "highdicom", "0.26", "dicom"),
    Requirement("torch", "torch", "2.8", "train"),
    Requirement("safetensors", "safetensors", "0.5", "train"),
    Requirement("onnx", "onnx", "1.18", "train"),
    Requirement("onnxscript", "onnxscript", "0.3", "train"),
    Requirement("matplotlib", "matplotlib", "3.9", "train"),
    Requirement("lightning-fabric", "lightning_fabric", "2.6.5", "train"),
    Requirement("einops", "einops", "0.8", "train"),
    Requirement("monai", "monai", "1.5.1", "train"),
)


@dataclass(frozen=True)
class Package:
    """A package as it is on this computer.

    Attributes:
        name: Name of the distribution.
        purpose: What it is needed for.
        minimum: Least version needed.
        version: Installed version, empty if missing or unknown.
        state: `installed` means that it was not tried, or cannot be before another package is there.
        fault: Why it is broken.
        details: What the package told of itself (PyTorch: builds and devices).
    """

    name: str
    purpose: Purpose
    minimum: str
    version: str
    state: State
    fault: str = ""
    details: dict[str, Any] | None = None


def inspect_packages(requirements: Sequence[Requirement], try_import: bool = True) -> list[Package]:
    """Look for packages.

    Args:
        requirements: The packages.
        try_import: Import each that is there in a second process, which takes seconds for PyTorch.
    """
    there = [requirement for requirement in requirements if find_spec(requirement.module) is not None]
    answers = import_elsewhere([requirement.module for requirement in there]) if try_import else {}
    return [
        _package(requirement, requirement in there, answers.get(requirement.module)) for requirement in requirements
    ]


def import_elsewhere(modules: Sequence[str], timeout: float = 120.0) -> dict[str, dict[str, Any]]:
    """Import modules, one after the other, in another process.

    Args:
        modules: Names. A module at which the process dies or hangs gets an `error`, the others go on.
        timeout: Seconds until one process is given up.

    Returns:
        The probe's answer for each module; empty if no process can be started.
    """
    answers: dict[str, dict[str, Any]] = {}
    left = list(modules)
    while left:
        ended, lines = run_probe(["import", *left], timeout)
        answers.update({line["name"]: line for line in lines})
        left = left[len(lines) :]
        if left and ended == "not started":
            break
        if left:
            answers[left[0]] = {"name": left[0], "error": f"importing it {ended}"}
            left = left[1:]
    return answers


def run_probe(arguments: Sequence[str], timeout: float) -> tuple[str, list[dict[str, Any]]]:
    """Run `probe.py`.

    Returns:
        How it ended, in words, and the JSON lines it wrote.

    Raises:
        Stopped: The user stopped.
    """
    try:
        process = subprocess.Popen(
            [sys.executable or "python", str(PROBE), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            creationflags=NO_WINDOW,
        )
    except OSError:
        return "not started", []
    deadline = time.monotonic() + timeout
    ended = ""
    with process:
        try:
            while not ended:
                try:
                    output, _ = process.communicate(timeout=0.2)
                    ended = f"ended the process with code {process.returncode}"
                except subprocess.TimeoutExpired:
                    check()
                    if time.monotonic() > deadline:
                        process.kill()
                        output, _ = process.communicate()
                        ended = f"took more than {timeout:g} s"
        finally:
            process.kill()
    return ended, _complete_lines(output)


def version_of(distribution: str) -> str | None:
    """Version in the package's metadata; None if there are no metadata, empty if they are damaged."""
    try:
        return metadata.version(distribution) or ""
    except metadata.PackageNotFoundError:
        return None
    except Exception:  # Damaged metadata fail in many ways.
        return ""


def is_older(version: str, minimum: str) -> bool:
    """True if `version` is certainly less than `minimum`; only the leading numbers count."""
    numbers = [tuple(int(part) for part in re.findall(r"\d+", _release(text))) for text in (version, minimum)]
    length = max(len(number) for number in numbers)
    padded = [number + (0,) * (length - len(number)) for number in numbers]
    return bool(numbers[0]) and padded[0] < padded[1]


def _release(version: str) -> str:
    found = re.match(r"\d+(\.\d+)*", version)
    return found.group() if found else ""


def _package(requirement: Requirement, there: bool, answer: dict[str, Any] | None) -> Package:
    version = version_of(requirement.name)
    fault = (answer or {}).get("error", "")
    state: State
    if not there and version is None:
        state = "missing"
    elif not there:
        state, fault = "broken", "pip lists it, but its files are missing"
    elif fault:
        state = "broken"
    elif version == "" and not (answer or {}).get("version"):
        state, fault = "broken", "its installation was not finished"
    else:
        version = version or (answer or {}).get("version", "")
        too_old = is_older(version, requirement.minimum)
        tried = answer is not None and "waits_for" not in answer
        state = "too old" if too_old else "works" if tried else "installed"
    details = (answer or {}).get(requirement.module)
    return Package(requirement.name, requirement.purpose, requirement.minimum, version or "", state, fault, details)


def _complete_lines(output: bytes) -> list[dict[str, Any]]:
    lines = []
    for line in output.decode("utf-8", "replace").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines
