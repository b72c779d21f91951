"""What went wrong outside the reach of a caller: exceptions in slots, timers and event handlers."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

# Slicer prints these and, under --testing, ends with exit code 1. conftest.py fails the test.
swallowed: list[BaseException] = []


class NotOffered(AttributeError):
    """The harness does not have this; whether Slicer has it is not said."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: not offered by the test harness (Testing/module/harness/README.md)")


def keep_uncaught() -> None:
    """Keep also what VTK's observers and PySide's virtual methods print."""
    show = sys.excepthook

    def keep(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        swallowed.append(error)
        show(kind, error, trace)

    sys.excepthook = keep


def guarded(function: Callable, *arguments: Any) -> Any:
    """Call a slot; its exception is printed and kept, and never reaches the emitter."""
    try:
        return function(*arguments)
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        swallowed.append(error)
        return None
