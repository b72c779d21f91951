"""The choices of `mimseg finetune`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimseg.bundle.locator import Locator
from mimseg.commands.pretrain.settings import check_batch
from mimseg.networks.settings import NetworkSettings
from mimseg.training.augmentation import AugmentationSettings
from mimseg.training.budget import Budget
from mimseg.training.optimiser.schedule import Schedule

# Crops per step where neither the user nor the time speaks for another number.
USUAL_BATCH = 2
# A selection of validation cases that sets none aside.
NO_VALIDATION = "none"


@dataclass(frozen=True)
class FinetuneSettings:
    """Choices of `mimseg finetune`.

    Attributes:
        data: A labelled data set, see `mimseg.data.cases.load_dataset`.
        output: Folder of the model bundle; the training itself works in `<output>.training` beside it.
        budget: Steps or minutes.
        initial: Folder of a pre-training run, a model, or None for random weights.
        network: Shape where nothing is taken over from `initial`.
        cases: Selection of training cases, or None for all that do not validate.
        validation: Selection of validation cases, or None for all cases of every fifth subject (none below five), or
            `NO_VALIDATION`: all cases train, and the model is not scored.
        labels: JSON file with names, colours, codes; None for what the data set says.
        name: Name of the model; None for that of the output folder.
        title: One line for people.
        window: Voxels, or None to plan.
        spacing: Target spacing in mm, or None to plan.
        modality: `CT`, `MR` or None to guess.
        preprocessing: Name of a preset (`btcv`, `brats`), or None to plan from the data.
        batch: Crops per step and process; None to plan.
        crops_per_volume: How many of them come from the same volume.
        schedule: Learning rates and averaging.
        layer_decay: Factor on the learning rate per block of a pre-trained encoder.
        foreground_share: Share of crops centred on a structure.
        include_background: The Dice loss counts the background as a class, as Chen et al.'s release does.
        balance: Rare structures count more in the cross entropy.
        augmentation: Of the crops.
        overlap: Of neighbouring windows at inference.
        keep_overlap: It was asked for: do not choose another one that gives the same labels.
        measure: Measure overlap and quick mode of the finished model.
        validations: How often to validate over the run.
        allow_incomplete: Accept start weights that lack parts of the encoder.
        seed: Decides everything random.
        device: `auto`, `cpu`, `cuda`, `mps`.
        precision: `auto` or a Fabric precision.
        devices: Processes per node.
        nodes: Number of nodes.
        licence: Licence of the model.
        attribution: Whom the training data come from.
        notes: More entries for the bundle's description (intended use, citation, scores of other runs).
        locator: How the model finds its region in large scans, or None.
        drawn_images: PNG picture of images drawn from labels; None puts it into the folder of the training.
        resume: Continue a stopped training.
        orientation: How the axes run in files that do not say so; empty for RAS.
        finish: With `resume`: train no further, make the model of the best weights so far.
        network_asked: The user named the network: start weights of another network are refused.
    """

    data: Path
    output: Path
    budget: Budget
    initial: str | None
    network: NetworkSettings
    cases: str | None = None
    validation: str | None = None
    labels: Path | None = None
    name: str | None = None
    title: str = ""
    window: tuple[int, int, int] | None = None
    spacing: tuple[float, float, float] | None = None
    modality: str | None = None
    preprocessing: str | None = None
    batch: int | None = USUAL_BATCH
    crops_per_volume: int = 1
    schedule: Schedule = field(default_factory=Schedule)
    layer_decay: float = 0.9
    foreground_share: float = 0.33
    include_background: bool = False
    balance: bool = False
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    overlap: float = 0.5
    keep_overlap: bool = False
    measure: bool = True
    validations: int = 20
    allow_incomplete: bool = False
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    devices: int | None = None
    nodes: int = 1
    licence: str = "Not stated"
    attribution: str = ""
    notes: dict[str, Any] | None = None
    locator: Locator | None = None
    drawn_images: Path | None = None
    resume: bool = False
    orientation: str = ""
    finish: bool = False
    network_asked: bool = False

    def __post_init__(self) -> None:
        if self.batch is not None:
            check_batch(self.batch, self.crops_per_volume)
