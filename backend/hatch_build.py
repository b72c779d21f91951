"""Puts the shipped models, which lie outside this folder in the repository, into the wheel and the source archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShippedModelsHook(BuildHookInterface):
    """Adds each folder of `Resources/Models` as `mimseg/shipped_models/<name>`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the folders; an editable install reads them where they are, a source archive has them already."""
        if version == "editable":
            return
        target = "mimseg/shipped_models" if self.target_name == "wheel" else "src/mimseg/shipped_models"
        models = Path(self.root).parent / "Resources" / "Models"
        for folder in sorted(models.glob("*/segmentation.json")):
            build_data["force_include"][str(folder.parent)] = f"{target}/{folder.parent.name}"
