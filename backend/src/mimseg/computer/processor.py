"""The processor: its name, how many cores this process may use, and the instructions that matter here."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

# A program started from one without a console, such as 3D Slicer on Windows, must not open a window.
NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)

# Name for people: the flags of Linux, macOS (x86 and ARM) and numpy that mean it.
FEATURES: dict[str, tuple[str, ...]] = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f", "avx512_skx", "x86_v4"),
    "AVX-512 VNNI": ("avx512_vnni", "avx512vnni"),
    "AVX-512 bf16": ("avx512_bf16",),
    "AMX bf16": ("amx_bf16",),
    "NEON": ("asimd", "neon", "hw.optional.neon", "hw.optional.advsimd"),
    "ARM bf16": ("bf16", "hw.optional.arm.feat_bf16"),
    "SVE": ("sve",),
}
_WINDOWS_FEATURES = {"avx2": 40, "avx512f": 41, "neon": 19}


@dataclass(frozen=True)
class Processor:
    """A processor.

    Attributes:
        name: Model name, or the architecture where the system does not tell.
        architecture: `x86_64`, `arm64`, ...
        cores: Logical cores of the computer.
        usable_cores: Logical cores that this process may use (affinity and container limit).
        features: Names out of `FEATURES`.
        features_known: False where the system does not tell the features.
    """

    name: str
    architecture: str
    cores: int
    usable_cores: int
    features: tuple[str, ...]
    features_known: bool

    @property
    def fast_bfloat16(self) -> bool:
        """True if bfloat16 is computed in hardware; without it mixed precision is far slower on the CPU."""
        return bool({"AVX-512 bf16", "AMX bf16", "ARM bf16"} & set(self.features))


def describe_processor() -> Processor:
    """The processor of this computer; whatever the system does not tell is left open."""
    readers = {"linux": _linux, "darwin": _macos, "win32": _windows}
    name, flags = readers.get(sys.platform, lambda: ("", set()))()
    flags = {flag.lower() for flag in flags}
    return Processor(
        name=name or platform.processor() or platform.machine() or "unknown",
        architecture=platform.machine(),
        cores=os.cpu_count() or 1,
        usable_cores=usable_cores(),
        features=tuple(title for title, names in FEATURES.items() if flags & set(names)),
        features_known=bool(flags),
    )


def usable_cores() -> int:
    """Logical cores that this process may use, at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    for folder in control_groups():
        quota = read_text(f"{folder}/cpu.max").split()
        if len(quota) == 2 and quota[0].isdigit() and quota[1].isdigit() and int(quota[1]):
            count = min(count, -(-int(quota[0]) // int(quota[1])))
    return max(1, count)


def control_groups(controller: str = "") -> list[str]:
    """Folders of Linux' control groups that this process is in, the root first; each may have a limit of its own.

    A container sees its limit at the root; SLURM and systemd set theirs in the groups below it.

    Args:
        controller: Of version 1, such as `memory`; empty for version 2, which has all in one tree.
    """
    root = PurePosixPath("/sys/fs/cgroup", controller)
    for line in read_text("/proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controller in controllers.split(","):
            own = root / path.strip("/")
            return [str(root), *(str(each) for each in reversed((own, *own.parents)) if root in each.parents)]
    return [str(root)]


def read_text(path: str) -> str:
    """Text of a small system file, empty if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def output_of(*command: str, timeout: float = 10.0) -> str:
    """Standard output of a program, empty if it is missing, fails, or takes too long."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            check=True,
            creationflags=NO_WINDOW,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace")


def _linux() -> tuple[str, set[str]]:
    fields: dict[str, str] = {}
    for line in read_text("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip().lower(), value.strip())
    return fields.get("model name", ""), set((fields.get("flags") or fields.get("features", "")).split())


def _macos() -> tuple[str, set[str]]:
    listing = output_of("sysctl", "machdep.cpu", "hw.optional") or output_of("sysctl", "hw.optional")
    name, flags = "", set()
    for line in listing.splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "machdep.cpu.brand_string":
            name = value
        elif key in ("machdep.cpu.features", "machdep.cpu.leaf7_features"):
            flags.update(value.split())
        elif key.startswith("hw.optional.") and value == "1":
            flags.update({key, key.removeprefix("hw.optional.").removesuffix("_0")})
    return name, flags


def _windows() -> tuple[str, set[str]]:
    if sys.platform != "win32":
        return "", set()
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0") as key:
            name = str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    except OSError:
        name = ""
    present = ctypes.windll.kernel32.IsProcessorFeaturePresent
    return name, {flag for flag, number in _WINDOWS_FEATURES.items() if present(number)}
