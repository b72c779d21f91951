"""Recognising that memory ran out, which every library says in its own words."""

from __future__ import annotations

import ctypes
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager

from mimseg.errors import OutOfMemory

HINT = "Cut out the structures of interest with --roi, choose a model with a coarser spacing, or close other programs."

_WORDS = re.compile(
    r"out of memory|bad[_ ]alloc|not enough memory|(?:can ?not|can.t|could not|fail\w* to) allocate"
    r"|memory allocation failed",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """True if `error` of numpy, ITK, OpenVINO or PyTorch says that memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and _WORDS.search(str(error)) is not None


@contextmanager
def memory_errors_named(what: str) -> Iterator[None]:
    """Turn any out-of-memory error inside into one that names `what` was being done.

    Raises:
        OutOfMemory: Memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as fault:
        if not is_out_of_memory(fault):
            raise
        raise OutOfMemory(f"There is not enough memory to {what}.", HINT) from fault


# Of glibc's malloc.h: from which size a block is a mapping of its own, and how much freed memory is kept.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Let this process keep memory that it frees instead of giving it back to the system after every layer.

    A training step frees and takes the same large blocks again, and each time every page of them is cleared anew: with
    windows of 64^3 half a million page faults a step. Only glibc can be told; elsewhere nothing happens.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, 2**30)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
