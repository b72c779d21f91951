"""Voxels, or whole volumes, of quite another size than in the other cases or than a model works with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mimseg.checks.cases.loaded_case import LoadedCase
from mimseg.checks.context import Context
from mimseg.checks.finding import Finding

SPACING_FACTOR = 2.0


def measure(case: LoadedCase) -> tuple[float, ...]:
    """Edges of a voxel in mm along the file's axes."""
    return case.volume.grid.spacing


def find(measured: Mapping[str, tuple[float, ...]], context: Context) -> list[Finding]:
    """See the module."""
    # Sorted: axial and sagittal stacks of the same voxels are alike.
    edges = {name: np.array(sorted(spacing)) for name, spacing in measured.items()}
    findings = []
    if len(edges) >= 3:
        for name, own in edges.items():
            usual = np.median([other for key, other in edges.items() if key != name], axis=0)
            if _far_apart(own, usual):
                text = f"The voxels of {_shown(measured[name])} mm differ much from the usual {_shown(usual)} mm."
                remedy = "Check that it belongs here and that its header is right."
                evidence = {"spacing_mm": list(measured[name]), "usual_mm": usual.tolist()}
                findings.append(Finding(name, "warning", "spacing", text, remedy, evidence))
    expected = context.expected.spacing
    if expected is not None and edges:
        usual = np.median(list(edges.values()), axis=0)
        if _far_apart(usual, np.array(sorted(expected))):
            text = (
                f"The usual voxels of {_shown(usual)} mm are far from the {_shown(expected)} mm that "
                f"{context.expected.source} works with."
            )
            remedy = "Volumes are resampled for it: fine detail is lost, or blurred volumes are enlarged."
            evidence = {"usual_mm": usual.tolist(), "model_mm": list(expected)}
            findings.append(Finding("", "note", "model-spacing", text, remedy, evidence))
    return findings


def _far_apart(own: np.ndarray, usual: np.ndarray) -> bool:
    return bool((own > SPACING_FACTOR * usual).any() or (own * SPACING_FACTOR < usual).any())


def _shown(edges: tuple[float, ...] | np.ndarray) -> str:
    return " x ".join(f"{edge:.3g}" for edge in edges)
