"""One process at a time works on a run: locks of the operating system, which end with the process that holds them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mimseg.stopping import check

WAIT_SECONDS = 1.0

if os.name == "nt":
    import msvcrt

    def _lock(stream: IO[bytes]) -> None:
        stream.seek(0)
        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
else:
    import fcntl

    def _lock(stream: IO[bytes]) -> None:
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` while the block runs.

    The file stays behind, empty: to delete it would let two processes hold locks of the same name. A process that is
    killed leaves no lock, so none can be stale.

    Yields:
        False if another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as stream:
        try:
            _lock(stream)
        except OSError:
            yield False
            return
        yield True


@contextmanager
def claim_patiently(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; wait while another process holds it.

    Raises:
        Stopped: The user stopped while waiting.
    """
    while True:
        check()
        with claim(path) as mine:
            if mine:
                yield
                return
        time.sleep(WAIT_SECONDS)
