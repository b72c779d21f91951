"""Structures of hardly any voxels, or of quite another volume than in the other cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mimseg.checks.cases.loaded_case import LoadedCase, Structure
from mimseg.checks.comparison import unusual_cases
from mimseg.checks.context import Context
from mimseg.checks.finding import Finding, Spot

TINY_VOXELS = 10
# Volumes are compared on a logarithmic scale: a factor of nearly 4, more where the cases themselves vary (lesions).
_LEAST_SPREAD = math.log(1.25)
_TIMES = 6.0


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
    odd: dict[tuple[str, bool], list[_OddSize]] = {}
    for value in sorted({value for sizes in measured.values() for value in sizes}):
        sizes = {name: found[value] for name, found in measured.items() if value in found}
        unusual = unusual_cases({n: math.log(size.volume_ml) for n, size in sizes.items()}, _LEAST_SPREAD, _TIMES)
        for name, size in sizes.items():
            usual = math.exp(unusual[name].usual) if name in unusual else None
            if size.structure.voxels < TINY_VOXELS:
                findings.append(_tiny(name, value, size, usual, context))
            elif usual is not None:
                odd.setdefault((name, size.volume_ml > usual), []).append(_OddSize(value, size, usual))
    return findings + [_odd(name, sizes, context) for (name, _), sizes in odd.items()]


@dataclass(frozen=True)
class _OddSize:
    value: int
    size: StructureVolume
    usual_ml: float

    @property
    def compared(self) -> str:
        factor = self.size.volume_ml / self.usual_ml
        ratio = f"{factor:.3g} times" if factor > 1 else f"1/{1 / factor:.3g} of"
        return f"{self.size.volume_ml:.3g} mL, {ratio} the usual {self.usual_ml:.3g} mL of the other cases"


def _tiny(name: str, value: int, size: StructureVolume, usual: float | None, context: Context) -> Finding:
    text = f"The structure {context.name(value)} has only {size.structure.voxels} voxels."
    evidence: dict[str, float] = {"value": value, "voxels": size.structure.voxels, "volume_ml": size.volume_ml}
    if usual is not None:
        evidence["usual_ml"] = usual
    spots = (Spot(name, "where it lies", size.structure.box),)
    remedy = "Remove stray voxels, or finish drawing it."
    return Finding(name, "warning", "tiny-label", text, remedy, evidence, spots)


def _odd(name: str, sizes: Sequence[_OddSize], context: Context) -> Finding:
    """Structures of one case that are too large, or too small: one cause is likely."""
    named = [f"the structure {context.name(odd.value)} measures {odd.compared}" for odd in sizes]
    text = f"{'; '.join(named)}."
    evidence: dict[str, Any] = {
        "value": sizes[0].value,
        "voxels": sizes[0].size.structure.voxels,
        "volume_ml": sizes[0].size.volume_ml,
        "usual_ml": sizes[0].usual_ml,
    }
    if len(sizes) > 1:
        evidence = {
            "values": [odd.value for odd in sizes],
            "volume_ml": [odd.size.volume_ml for odd in sizes],
            "usual_ml": [odd.usual_ml for odd in sizes],
        }
    remedy = "Check that it is complete, that nothing else has its value, and that the voxel size is right."
    spots = tuple(Spot(name, f"where {context.name(odd.value)} lies", odd.size.structure.box) for odd in sizes)
    return Finding(name, "warning", "unusual-size", text[0].upper() + text[1:], remedy, evidence, spots)
