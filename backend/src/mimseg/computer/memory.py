"""Main memory: how much there is and how much of it is free, without packages."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from dataclasses import dataclass

from mimseg.computer.processor import control_groups, output_of, read_text

# Version 2 and 1 of Linux' control groups: folder, limit, what is used, and the file cache in it.
_CONTROL_GROUPS = (
    ("", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


@dataclass(frozen=True)
class Memory:
    """Main memory in bytes; None where the system does not tell.

    Attributes:
        total: Installed, or the limit of the container or job.
        free: Available to a new program without swapping.
    """

    total: int | None
    free: int | None


def describe_memory() -> Memory:
    """Main memory that this process may use."""
    readers = {"linux": _linux, "darwin": _macos, "win32": _windows}
    return readers.get(sys.platform, _posix)()


def _linux() -> Memory:
    fields = {
        key: int(size) * 1024 for key, size in re.findall(r"^(\w+):\s+(\d+) kB", read_text("/proc/meminfo"), re.M)
    }
    total, free = fields.get("MemTotal"), fields.get("MemAvailable", fields.get("MemFree"))
    if total is None:
        return Memory(None, free)
    installed = total
    for version, limit_file, used_file, cache in _CONTROL_GROUPS:
        for folder in control_groups(version):
            limit, used = (read_text(f"{folder}/{name}").strip() for name in (limit_file, used_file))
            if limit.isdigit() and int(limit) < installed:
                total = min(total, int(limit))
                if free is not None and used.isdigit():
                    free = max(0, min(free, int(limit) - int(used) + _reclaimable(folder, cache)))
    return Memory(total, free)


def _reclaimable(folder: str, cache: str) -> int:
    # A group's own count includes the file cache, which is given up when memory gets short.
    found = re.search(rf"^{cache} (\d+)", read_text(f"{folder}/memory.stat"), re.M)
    return int(found.group(1)) if found else 0


def _macos() -> Memory:
    total = output_of("sysctl", "-n", "hw.memsize").strip()
    listing = output_of("vm_stat")
    size = re.search(r"page size of (\d+) bytes", listing)
    pages = re.findall(r"^Pages (?:free|inactive|speculative|purgeable):\s+(\d+)", listing, re.M)
    free = sum(int(count) for count in pages) * int(size.group(1)) if size and pages else None
    return Memory(int(total) if total.isdigit() else None, free)


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        *(
            (name, ctypes.c_uint64)
            for name in ("total", "free", "total_page", "free_page", "total_virtual", "free_virtual", "extended")
        ),
    )


def _windows() -> Memory:
    if sys.platform != "win32":
        return Memory(None, None)
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return Memory(None, None)
    return Memory(status.total, status.free)


def _posix() -> Memory:
    try:
        return Memory(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), None)
    except (AttributeError, OSError, ValueError):
        return Memory(None, None)
