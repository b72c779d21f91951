"""Recognising that memory ran out, which every library says in its own words."""

from __future__ import annotations

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
        raise OutOfMemory(f"The memory does not suffice to {what}.", HINT) from fault
