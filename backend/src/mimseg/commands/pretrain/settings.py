"""The choices of `mimseg pretrain`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimseg.data.preprocessing import Preprocessing
from mimseg.errors import UserError
from mimseg.networks.settings import NetworkSettings
from mimseg.training.augmentation import AugmentationSettings
from mimseg.training.budget import Budget
from mimseg.training.optimiser.schedule import Schedule

MILD = AugmentationSettings(rotation=10, scale=0.15, elastic=0, spatial_share=0.5)


@dataclass(frozen=True)
class PretrainSettings:
    """Choices of `mimseg pretrain`.

    Attributes:
        data: Files or folders with unlabelled volumes, or labelled data sets, whose labels are ignored.
        cases: Selection among them by file name without extension, or None for all.
        output: Folder of the run.
        budget: Steps or minutes.
        network: Shape of the encoder; its window is planned from the data where `window` is None.
        method: One of `mimseg.networks.methods.METHODS`.
        method_settings: The method's own settings by name, e.g. `{"mask_ratio": 0.75}`; defaults for the rest.
        initial: Pre-training run or model whose encoder is trained further, or None for random weights.
        window: Voxels, or None to plan.
        spacing: Target spacing in mm, or None for the median of the data.
        modality: `CT`, `MR` or None to guess.
        preprocessing: Name of a preset (`btcv`, `brats`) or JSON file, itself, or None to plan from the data.
        batch: Crops per step and process.
        crops_per_volume: How many of them come from the same volume.
        schedule: Learning rates and averaging.
        augmentation: Of the crops.
        validations: How often to validate over the run.
        seed: Decides everything random.
        device: `auto`, `cpu`, `cuda`, `mps`.
        precision: `auto` or a Fabric precision.
        devices: Processes per node.
        nodes: Number of nodes.
        resume: Continue the run in `output`.
        network_asked: The user named the network: start weights of another network are refused.
    """

    data: tuple[Path, ...]
    output: Path
    budget: Budget
    network: NetworkSettings
    method: str = "mae"
    method_settings: dict[str, Any] = field(default_factory=dict)
    cases: str | None = None
    initial: str | None = None
    window: tuple[int, int, int] | None = None
    spacing: tuple[float, float, float] | None = None
    modality: str | None = None
    preprocessing: str | Preprocessing | None = None
    batch: int = 16
    crops_per_volume: int = 1
    schedule: Schedule = field(default_factory=lambda: Schedule(betas=(0.9, 0.95), average=0.99))
    augmentation: AugmentationSettings = MILD
    validations: int = 10
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    devices: int | None = None
    nodes: int = 1
    resume: bool = False
    network_asked: bool = False

    def __post_init__(self) -> None:
        check_batch(self.batch, self.crops_per_volume)


def check_batch(batch: int, crops_per_volume: int) -> None:
    """Refuse a batch that is not made of whole groups of crops.

    Raises:
        UserError: It is not.
    """
    if batch < 1 or crops_per_volume < 1 or batch % crops_per_volume:
        raise UserError(
            f"A batch of {batch} crops cannot have {crops_per_volume} from each volume.",
            "Make --batch a multiple of --crops-per-volume.",
            "bad-usage",
        )
