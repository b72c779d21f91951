"""`slicer.packaging`: nothing is installed in a test; a test that needs it injects its own."""

from __future__ import annotations

from typing import Any


def _refuse(name: str) -> Any:
    def function(*arguments: Any, **keywords: Any) -> Any:
        raise RuntimeError(f"slicer.packaging.{name} must be injected by the test")

    function.__name__ = name
    return function


load_requirements = _refuse("load_requirements")
load_pyproject_dependencies = _refuse("load_pyproject_dependencies")
pip_check = _refuse("pip_check")
pip_ensure = _refuse("pip_ensure")
pip_install = _refuse("pip_install")
pip_uninstall = _refuse("pip_uninstall")
isPipInstallInProgress = _refuse("isPipInstallInProgress")
