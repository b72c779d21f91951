"""The helpers of this package for tests that run inside a real 3D Slicer, where nothing is installed.

Written after Slicer's documentation and not run yet: no Slicer was at hand.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def running() -> bool:
    """Say whether this Python is Slicer's own, with an application."""
    return "PythonQt" in sys.modules and hasattr(sys.modules.get("slicer"), "app")


def open_module(path: Path | str) -> Any:
    """Show a module that Slicer has loaded, with a panel built anew, and return its widget object.

    Slicer keeps one panel for the whole session: without a reload, each test would get what the one before left.
    """
    import slicer

    name = Path(path).stem
    if slicer.util.selectedModule() == name:
        slicer.util.selectModule("Data")
    if hasattr(slicer.modules, name + "Widget"):
        slicer.util.reloadScriptedModule(name)
    slicer.util.selectModule(name)
    return getattr(slicer.modules, name + "Widget")


def close_module(widget: Any) -> None:
    """Leave the module; Slicer keeps its panel."""
    import slicer

    slicer.util.selectModule("Data")


def wait_until(condition: Callable[[], Any], timeout: float) -> bool:
    """Run Slicer's events until a condition holds."""
    import slicer

    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        slicer.app.processEvents()
        time.sleep(0.005)
    return True


def screenshot(widget: Any, path: Path | str) -> None:
    """Draw a widget into a PNG file."""
    if not widget.grab().save(str(path)):
        raise OSError(f"cannot write {path}")
