"""What a checkpoint of nnssl says beside its tensors: its adaptation plan, and whose work the known ones are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mimseg.data.intensity import Intensity
from mimseg.data.preprocessing import Preprocessing
from mimseg.importers.declarations import Declared

KIND = "checkpoint of nnssl"
PLAN = "nnssl_adaptation_plan"
_NORMALISATION = "ZScoreNormalization"


class Known(NamedTuple):
    """A published collection of weights.

    Attributes:
        part: Of the file's name, in lower case.
        modality: Of its scans, or None for several.
        licence: Of the weights.
        citation: What to cite.
    """

    part: str
    modality: str | None
    licence: str
    citation: str


KNOWN = (
    Known(
        "openmind", "MR", "CC-BY-4.0",
        "Wald T. et al. An OpenMind for 3D medical vision self-supervised learning. ICCV 2025. arXiv:2412.17041.",
    ),
    Known("nnfoundation", None, "CC-BY-SA-4.0", "nnFoundation: 3D Foundation Models for Radiology. arXiv:2609.26924."),
)  # fmt: skip


def recognise(content: Mapping[str, Any]) -> bool:
    """Whether a file is such a checkpoint."""
    return isinstance(content.get(PLAN), Mapping)


def known(name: str) -> Known | None:
    """The collection that a file of this name belongs to."""
    return next((entry for entry in KNOWN if entry.part in name.lower()), None)


def read(content: Mapping[str, Any], name: str) -> Declared:
    """What the plan declares.

    Args:
        content: Of the file.
        name: Of the file, which tells known collections.
    """
    plan = _mapping(content[PLAN])
    configurations = _mapping(_mapping(plan.get("pretrain_plan")).get("configurations"))
    first = _mapping(next(iter(configurations.values()), None))
    network = _mapping(_mapping(plan.get("architecture_plans")).get("arch_kwargs"))
    patch = network.get("patch_embed_size")
    stated = {
        "hidden_size": network.get("embed_dim"),
        "layers": network.get("eva_depth"),
        "patch_size": patch[0] if isinstance(patch, (list, tuple)) and patch else patch,
    }
    collection = known(name)
    notes = [
        "nnU-Net leaves scans in the orientation of their file; here they are turned to RAS.",
        "Axes were taken from z, y, x to x, y, z, in kernels, positions and rotations.",
    ]
    if collection is not None and collection.licence == "CC-BY-SA-4.0":
        notes.append("These weights are CC-BY-SA-4.0: so is what is trained from them.")
    return Declared(
        kind=KIND,
        modality=collection.modality if collection else None,
        preprocessing=_preprocessing(first, notes),
        heads=_count(network.get("eva_numheads")),
        sizes={name: count for name, value in stated.items() if (count := _count(value)) is not None},
        window=_reversed(plan.get("pretrain_patch_size") or first.get("patch_size")),
        citation=collection.citation if collection else "",
        notes=tuple(notes),
    )


def _preprocessing(configuration: Mapping[str, Any], notes: list[str]) -> Preprocessing | None:
    schemes = configuration.get("normalization_schemes")
    if not isinstance(schemes, (list, tuple)) or set(schemes) != {_NORMALISATION}:
        notes.append(f"Its normalisation {schemes} has no counterpart here.")
        return None
    masked = configuration.get("use_mask_for_norm")
    if not isinstance(masked, (list, tuple)) or not all(masked):
        notes.append("Its z-scores were of all voxels; here they are of the voxels that are not zero.")
    spacing = configuration.get("spacing")
    if not isinstance(spacing, (list, tuple)) or len(spacing) != 3:
        notes.append("It was pre-trained without resampling; --spacing of fine-tuning chooses one.")
        return Preprocessing("RAS", None, Intensity("zscore"))
    z, y, x = (float(edge) for edge in spacing)
    return Preprocessing("RAS", (x, y, z), Intensity("zscore"))


def _reversed(size: Any) -> tuple[int, int, int] | None:
    if not isinstance(size, (list, tuple)) or len(size) != 3 or not all(isinstance(edge, int) for edge in size):
        return None
    z, y, x = size
    return x, y, z


def _count(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
