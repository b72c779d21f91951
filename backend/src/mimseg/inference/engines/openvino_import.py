"""Loads OpenVINO without its model converter, which reports its use to its maker.

`import openvino` also imports `openvino.tools.ovc` (its `__init__.py` goes on without it). Where the package
`openvino-telemetry` is installed, as pip does, that converter writes an identifier into the home folder and sends an
event over the network, without asking. Nothing here converts models; left out, OpenVINO also loads in half the time.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

_REPORTING = ("openvino.tools.ovc", "openvino_telemetry")


def import_openvino() -> ModuleType:
    """OpenVINO's runtime; a program that imported `openvino` before keeps what it has.

    Raises:
        ImportError: OpenVINO is not installed or damaged.
    """
    blocked = [name for name in _REPORTING if name not in sys.modules]
    # None makes Python raise ImportError before it looks for the module.
    sys.modules.update(dict.fromkeys(blocked))  # type: ignore[arg-type]
    try:
        return importlib.import_module("openvino")
    finally:
        for name in blocked:
            sys.modules.pop(name, None)
