"""The module `ctk`: classes by name; what is not listed raises."""

from __future__ import annotations

from typing import Any

from harness.pythonqt.api import SPECS


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name not in SPECS or SPECS[name].module != "ctk":
        raise AttributeError(f"module 'ctk' has no attribute '{name}'")
    from harness.pythonqt.wrapping import class_for

    return class_for(name)
