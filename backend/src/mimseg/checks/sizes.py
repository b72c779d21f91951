"""Structures of hardly any voxels, or of quite another volume than in the other cases."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mimseg.checks.comparison import unusual_cases
from mimseg.checks.context import Context
from mimseg.checks.finding import Finding, Spot
from mimseg.checks.loaded_case import LoadedCase, Structure

TINY_VOXELS = 10
# Volumes are compared on a logarithmic scale: a factor of 3 or more, wider where the cases themselves vary (lesions).
_LEAST_SPREAD = math.log(1.25)
_TIMES = 5.0


@dataclass(frozen=True)
class StructureVolume:
    """Size of one structure of one case."""

    structure: Structure
    volume_ml: float


def measure(case: LoadedCase) -> dict[int, StructureVolume]:
    """By label value."""
    return {v: StructureVolume(found, found.voxels * case.voxel_ml) for v, found in case.structures.items()}


def find(measured: Mapping[str, Mapping[int, StructureVolume]], context: Context) -> list[Finding]:
    """See the module."""
    findings = []
    for value in sorted({value for sizes in measured.values() for value in sizes}):
        sizes = {name: found[value] for name, found in measured.items() if value in found}
        unusual = unusual_cases({n: math.log(size.volume_ml) for n, size in sizes.items()}, _LEAST_SPREAD, _TIMES)
        for name, size in sizes.items():
            spots = (Spot(name, "where it lies", size.structure.box),)
            evidence = {"value": value, "voxels": size.structure.voxels, "volume_ml": size.volume_ml}
            what = f"The structure {context.name(value)}"
            if name in unusual:
                evidence["usual_ml"] = math.exp(unusual[name].usual)
            if size.structure.voxels < TINY_VOXELS:
                text = f"{what} has only {size.structure.voxels} voxels."
                remedy = "Remove stray voxels, or finish drawing it."
                findings.append(Finding(name, "warning", "tiny-label", text, remedy, evidence, spots))
            elif name in unusual:
                usual = math.exp(unusual[name].usual)
                factor = size.volume_ml / usual
                ratio = f"{factor:.3g} times" if factor > 1 else f"1/{1 / factor:.3g} of"
                text = f"{what} measures {size.volume_ml:.3g} mL, {ratio} the usual {usual:.3g} mL of the other cases."
                remedy = "Check that it is complete, that nothing else has its value, and that the voxel size is right."
                findings.append(Finding(name, "warning", "unusual-size", text, remedy, evidence, spots))
    return findings
