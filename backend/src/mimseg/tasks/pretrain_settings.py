"""The choices of `mimseg pretrain`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mimseg.networks.mae import MaeSettings
from mimseg.networks.settings import NetworkSettings
from mimseg.training.augmentation import AugmentationSettings
from mimseg.training.loop import Budget

MILD = AugmentationSettings(rotation=10, scale=0.15, elastic=0, spatial_share=0.5)


@dataclass(frozen=True)
class PretrainSettings:
    """Choices of `mimseg pretrain`.

    Attributes:
        data: Files or folders with unlabelled volumes.
        cases: Selection among them by file name without extension, or None for all.
        output: Folder of the run.
        budget: Steps or minutes.
        network: Shape of the encoder; its window is planned from the data where `window` is None.
        mae: Mask ratio, decoder, target.
        window: Voxels, or None to plan.
        spacing: Target spacing in mm, or None for the median of the data.
        modality: `CT`, `MR` or None to guess.
        batch: Crops per step and process.
        learning_rate: AdamW's peak.
        augmentation: Of the crops.
        seed: Decides everything random.
        device: `auto`, `cpu`, `cuda`, `mps`.
        precision: `auto` or a Fabric precision.
        devices: Processes per node.
        nodes: Number of nodes.
        resume: Continue the run in `output`.
    """

    data: tuple[Path, ...]
    output: Path
    budget: Budget
    network: NetworkSettings
    mae: MaeSettings
    cases: str | None = None
    window: tuple[int, int, int] | None = None
    spacing: tuple[float, float, float] | None = None
    modality: str | None = None
    batch: int = 16
    learning_rate: float = 1e-3
    augmentation: AugmentationSettings = MILD
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    devices: int | None = None
    nodes: int = 1
    resume: bool = False
