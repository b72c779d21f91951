"""Stopping a run on the user's wish: a flag that long loops look at between two steps.

A stopped run must leave no half-written file and no half-updated checkpoint, so nothing is torn down
in the middle: signals and a closed standard input only set the flag, and `check` raises where the
work can end cleanly. A second Ctrl-C does not wait for that place.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from mimseg.errors import Stopped

_requested = threading.Event()
_POLL_SECONDS = 0.2


def request() -> None:
    """Ask the run to stop at its next check. Safe in signal handlers and from other threads."""
    _requested.set()


def requested() -> bool:
    """True once a stop was asked for."""
    return _requested.is_set()


def clear() -> None:
    """Forget an earlier request: a new run begins in this process."""
    _requested.clear()


def check() -> None:
    """Go on, or end here if a stop was asked for. Cheap: call it once per step, window or file.

    Raises:
        Stopped: A stop was asked for.
    """
    if _requested.is_set():
        raise Stopped()


def install_signal_handlers() -> Callable[[], None]:
    """Let SIGINT, SIGTERM and Windows' Ctrl-Break ask for a stop; the second one interrupts at once.

    Does nothing outside the main thread, where Python allows no handlers.

    Returns:
        A function that puts the former handlers back.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    names = ("SIGINT", "SIGTERM", "SIGBREAK")
    previous: dict[int, Any] = {}
    for number in (getattr(signal, name) for name in names if hasattr(signal, name)):
        previous[number] = signal.signal(number, _on_signal)

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    return restore


def watch_stdin() -> None:
    """Ask for a stop as soon as standard input ends: the parent process closed it, or died."""
    threading.Thread(target=_wait_for_end_of_stdin, name="mimseg-stdin", daemon=True).start()


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    if requested():
        raise KeyboardInterrupt
    request()


def _wait_for_end_of_stdin() -> None:
    # The descriptor is read directly: a daemon thread that holds sys.stdin's lock makes Python abort at exit.
    try:
        descriptor = sys.stdin.fileno() if sys.stdin is not None else 0
        _poll_pipe(descriptor)
        while os.read(descriptor, 4096):
            pass
    except (OSError, ValueError):
        pass  # An unusable standard input is a closed one.
    request()


def _poll_pipe(descriptor: int) -> None:
    """On Windows: return when a pipe is broken, or if it is none. Elsewhere: return.

    A read that waits there holds up everything else that looks at the same pipe, and libraries that numpy and scipy
    bring look at standard input while they are loaded: `import numpy` would hang until the parent writes
    (numpy/numpy#24290, python/cpython#78961).
    """
    while True:
        waiting = _bytes_waiting(descriptor)
        if waiting is None:
            return
        if waiting:
            os.read(descriptor, waiting)
        time.sleep(_POLL_SECONDS)


def _bytes_waiting(descriptor: int) -> int | None:
    """How many bytes can be read without waiting from a pipe; None if it is broken or none, or not on Windows."""
    if sys.platform != "win32":
        return None
    import ctypes
    import msvcrt

    waiting = ctypes.c_ulong()
    handle = ctypes.c_void_p(msvcrt.get_osfhandle(descriptor))
    peeked = ctypes.windll.kernel32.PeekNamedPipe(handle, None, 0, None, ctypes.byref(waiting), None)
    return waiting.value if peeked else None
