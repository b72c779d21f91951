"""Running a process and measuring it: wall and processor seconds, peak memory, what it found out."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parents[1] / "backend" / "src"


@dataclass(frozen=True)
class Measured:
    """One process from start to end.

    Attributes:
        seconds: Wall time.
        cpu_seconds: Of all its threads.
        peak_mb: Largest resident memory.
        lines: What it wrote to standard output.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float
    lines: list[str]

    @property
    def findings(self) -> dict[str, Any]:
        """The JSON of the last line."""
        return json.loads(self.lines[-1])


class Runner:
    """Starts processes that all use the same number of threads.

    Args:
        threads: Processor threads; the processes are bound to as many processors where the system allows it.
        cache: Folder of mimseg's compiled networks.
    """

    def __init__(self, threads: int, cache: Path) -> None:
        self.threads = threads
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
        self._environment = {**os.environ, **{name: str(threads) for name in names}}
        self._environment.update(PYTHONPATH=str(SOURCES), MIMSEG_CACHE=str(cache))

    def child(self, name: str, **arguments: Any) -> Measured:
        """A function of `inference_children.py`."""
        return self._run([sys.executable, str(HERE / "inference_children.py"), name, json.dumps(arguments)])

    def segment(self, images: Sequence[Path], model: Path | str, output: Path, *options: str) -> Measured:
        """`mimseg segment` as a user starts it."""
        command = [sys.executable, "-m", "mimseg", "segment", *map(str, images), "-m", str(model), "-o", str(output)]
        return self._run([*command, "--device", "cpu", "--threads", str(self.threads), "--json-lines", *options])

    def _run(self, command: Sequence[str]) -> Measured:
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            began = time.perf_counter()
            process = subprocess.Popen(command, stdout=output, stderr=errors, env=self._environment)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                errors.seek(0)
                raise RuntimeError(f"{' '.join(command)[:300]}\n{errors.read().decode(errors='replace')[-2000:]}")
            output.seek(0)
            lines = output.read().decode().splitlines()
        unit = 1 if sys.platform == "darwin" else 1024
        return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6, lines)


def machine(threads: int) -> dict[str, Any]:
    """What the figures depend on."""
    from importlib.metadata import version

    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        flags = next((line for line in lines if line.startswith("flags")), "")
        best = next((flag for flag in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if flag in flags), "")
        name = f"{models[0]} ({best})" if models else name
    return {
        "processor": name,
        "threads": threads,
        "memory_gb": round(available_gb()[1], 1),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        **{package: version(package) for package in ("openvino", "torch", "monai", "numpy", "SimpleITK")},
    }


def available_gb() -> tuple[float, float]:
    """Available and total memory; infinite where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        values = {line.split(":")[0]: int(line.split()[1]) * 1024 / 1e9 for line in lines}
        return values["MemAvailable"], values["MemTotal"]
    except (OSError, KeyError, ValueError):
        return float("inf"), float("inf")
