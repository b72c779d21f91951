"""Disks that take no more, without a disk: the system's own size limit for files, where it has one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Every write of this process beyond `size` bytes of a file fails with EFBIG, as beyond the end of a disk."""
    resource = pytest.importorskip("resource", reason="Windows has no size limit for files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
