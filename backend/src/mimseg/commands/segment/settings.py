"""Choices of `mimseg segment`, and what comes out for a case."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mimseg.commands.segment.volume_table import StructureVolume

_WAY = ("regions", "frame", "orientation", "overlap", "quick")


@dataclass(frozen=True)
class SegmentSettings:
    """What to segment, with what, and where to.

    Attributes:
        inputs: Volumes, DICOM folders, or folders of volumes; with a model of several channels, the channels of each
            case in turn.
        model: Name or path of the model.
        output: A file for one case, or a folder.
        device: `auto`, `cpu`, `cuda`, `mps`.
        engine: `auto`, `openvino`, `torch`.
        labels: Names of the structures to keep; empty keeps all.
        regions: Boxes x0, x1, y0, y1, z0, z1 in mm, RAS; empty takes the whole volume.
        file_format: Ending of the files written to an output folder.
        table: CSV of volumes to write, or None.
        preview: PNG picture to write, or None.
        frame: Which volume of a 4D file, from 0, or None.
        orientation: How the axes run in files that do not say so; empty for RAS.
        overlap: Share of a window that its neighbour covers too; None takes the model's.
        quick: Use the model's quick mode: coarser voxels, faster, with a measured loss.
        threads: Processor threads; None takes one for each physical core, or this rank's share of them.
        precision: `auto`, `f32` or `bf16`.
        resume: Leave out cases that have their result already.
        replace: Replace results also where they were changed since they were written, or come from elsewhere.
    """

    inputs: tuple[Path, ...]
    model: str
    output: Path
    device: str = "auto"
    engine: str = "auto"
    labels: tuple[str, ...] = ()
    regions: tuple[tuple[float, ...], ...] = ()
    file_format: str = ".nii.gz"
    table: Path | None = None
    preview: Path | None = None
    frame: int | None = None
    orientation: str = ""
    overlap: float | None = None
    quick: bool = False
    threads: int | None = None
    precision: str = "auto"
    resume: bool = False
    replace: bool = False

    @property
    def way(self) -> str:
        """What labels depend on besides scan, model and structures; empty if nothing of it was asked for."""
        asked = [entry for entry in fields(self) if entry.name in _WAY and getattr(self, entry.name) != entry.default]
        return " ".join(f"{entry.name}={getattr(self, entry.name)}" for entry in asked)


@dataclass(frozen=True)
class SegmentResult:
    """What came out for one case.

    Attributes:
        inputs: What was read.
        output: The labelmap or segmentation written.
        volumes: Volume of each structure that was asked for.
        preview: The picture written, or None.
        seconds: Time from the case's turn to its file; reading ahead is not counted.
    """

    inputs: tuple[Path, ...]
    output: Path
    volumes: tuple[StructureVolume, ...]
    preview: Path | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary for the result event."""
        return {
            "inputs": [str(path) for path in self.inputs],
            "output": str(self.output),
            "preview": None if self.preview is None else str(self.preview),
            "seconds": round(self.seconds, 3),
            "volumes": [
                {"label": v.label, "value": v.value, "voxels": v.voxels, "ml": round(v.ml, 4)} for v in self.volumes
            ],
        }
