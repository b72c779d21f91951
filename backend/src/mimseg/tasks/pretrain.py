"""Pre-train a ViT encoder by masked image modelling (MAE) on unlabelled volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mimseg import __version__
from mimseg.data.cases import Case, pick_cases, stem
from mimseg.data.volumes import find_volumes, read_volume
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.networks.mae import MaeSettings, MaskedAutoencoder, random_mask
from mimseg.networks.settings import NetworkSettings
from mimseg.stopping import check
from mimseg.training.augmentation import AugmentationSettings
from mimseg.training.cache import TrainingCase, load_cases
from mimseg.training.crops import draw_batch, fixed_crops, generator_for
from mimseg.training.loop import Budget, LoopSettings, make_fabric, train
from mimseg.training.planning import SPACING_SAMPLES, plan_preprocessing, plan_window
from mimseg.training.precision import choose_precision
from mimseg.training.reconstruction import draw_reconstruction
from mimseg.training.run_folder import PretrainedRun, data_hashes, write_json, write_run
from mimseg.training.schedule import parameter_groups

VALIDATION_CROPS = 16
LARGEST_WINDOW = {"cpu": 64, "mps": 96, "cuda": 96}


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
    augmentation: AugmentationSettings = AugmentationSettings(rotation=10, scale=0.15, elastic=0, spatial_share=0.5)
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    devices: int | None = None
    nodes: int = 1
    resume: bool = False


def pretrain(settings: PretrainSettings, reporter: Reporter) -> Path:
    """Run or resume a pre-training.

    Returns:
        The run folder: `pretraining.json`, `encoder.safetensors`, `checkpoint.pt`, `log.csv`, `curves.png`,
        `reconstruction.png`.

    Raises:
        UserError: No readable volume, settings that do not fit, or a run that is already there.
        Stopped: The user stopped; `--resume` continues.
    """
    folder = settings.output
    _check_folder(folder, settings.resume)
    fabric = make_fabric(settings.device, "32-true", settings.devices, settings.nodes)
    if not fabric.is_global_zero:
        reporter = Reporter()
    cases, modality, preprocessing = _load(settings, reporter)
    window = settings.window or plan_window(
        [tuple(case.image.shape[1:]) for case in cases],
        settings.network.patch_size,
        LARGEST_WINDOW[fabric.device.type],
    )
    channels = int(cases[0].image.shape[0])
    shape = replace(settings.network, window=window, channels=channels, classes=1)
    torch.manual_seed(settings.seed)
    network = MaskedAutoencoder(shape, settings.mae)
    precision = settings.precision
    if precision == "auto":
        example = torch.randn(1, channels, *window)
        precision = choose_precision(fabric.device, _Whole(network), example)
    if precision != "32-true":
        fabric = make_fabric(settings.device, precision, settings.devices, settings.nodes)
    reporter.start(
        "pretrain",
        device=str(fabric.device),
        processes=fabric.world_size,
        precision=precision,
        volumes=len(cases),
        window=list(window),
        patches=shape.tokens,
        mask_ratio=settings.mae.mask_ratio,
        encoder_parameters=_count(network.encoder),
        decoder_parameters=_count(network) - _count(network.encoder),
    )
    provenance = _provenance(settings, shape, modality, cases)
    if fabric.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "settings.json", provenance)
    crops = fixed_crops(cases, window, VALIDATION_CROPS, settings.seed).to(fabric.device)
    masks = random_mask(len(crops), shape.tokens, settings.mae.mask_ratio, generator_for(settings.seed, 3))
    masks = masks.to(fabric.device)

    def make_batch(step: int) -> tuple[Tensor, Tensor]:
        images, _ = draw_batch(
            cases, window, settings.augmentation, 0.0, settings.batch, settings.seed, step,
            fabric.global_rank, fabric.world_size,
        )  # fmt: skip
        generator = generator_for(settings.seed, 4, step, fabric.global_rank)
        return images, random_mask(len(images), shape.tokens, settings.mae.mask_ratio, generator)

    def validate(average: nn.Module, step: int) -> dict[str, float]:
        if fabric.is_global_zero:
            draw_reconstruction(folder / "reconstruction.png", average, crops, masks)  # type: ignore[arg-type]
        return {"validation_loss": float(average(crops, masks))}

    weights, state = train(
        fabric,
        network,
        parameter_groups(network, settings.learning_rate, 0.05, shape.layers, 1.0, set()),
        LoopSettings(settings.budget, settings.seed),
        folder,
        make_batch,
        lambda module, batch, step: module(*batch),
        validate,
        "validation_loss",
        False,
        reporter,
        settings.resume,
        betas=(0.9, 0.95),
    )
    if fabric.is_global_zero:
        provenance.update(steps=state.step, seconds=round(state.seconds, 1), validation_loss=state.best)
        encoder = {f"vit.{name[8:]}": value for name, value in weights.items() if name.startswith("encoder.")}
        write_run(folder, PretrainedRun(shape, preprocessing, modality, provenance), encoder)
        reporter.result(run=str(folder), validation_loss=state.best, steps=state.step)
    return folder


class _Whole(nn.Module):
    """The encoder on a whole window as a module of one input, to time precision with."""

    def __init__(self, network: MaskedAutoencoder) -> None:
        super().__init__()
        self.encoder = network.encoder

    def forward(self, volume: Tensor) -> Tensor:
        return self.encoder(volume)[0]


def _check_folder(folder: Path, resume: bool) -> None:
    if resume and not (folder / "checkpoint.pt").is_file():
        raise UserError(f"{folder} holds no run to resume.", "Leave out --resume to start one.", code="not-found")
    if not resume and folder.exists() and any(folder.iterdir()):
        raise UserError(
            f"The folder {folder} is not empty.",
            "Continue that run with --resume, or choose another folder.",
            code="output-exists",
        )


def _load(settings: PretrainSettings, reporter: Reporter) -> tuple[list[TrainingCase], str, Any]:
    """All readable volumes, prepared, with modality and preprocessing."""
    paths = [path for entry in settings.data for path in find_volumes(entry)]
    if settings.cases:
        named = [Case(stem(path), (path,), None) for path in paths]
        paths = [case.images[0] for case in pick_cases(named, settings.cases)]
    if not paths:
        raise UserError(
            f"No volume was found in {', '.join(map(str, settings.data))}.",
            "Give folders with NIfTI, NRRD, MHA files or DICOM series.",
            code="no-dataset",
        )
    sample = []
    for path in paths[:: max(1, len(paths) // SPACING_SAMPLES)]:
        check()
        try:
            sample.append(read_volume(path))
        except UserError:
            continue  # reported when all are loaded
    if not sample:
        raise UserError("None of the first volumes could be read.", "Check the folder.", code="no-dataset")
    modality, preprocessing = plan_preprocessing(sample, settings.modality, settings.spacing)
    cases = load_cases(
        [Case(f"volume {number}", (path,), None) for number, path in enumerate(paths, start=1)],
        preprocessing,
        (),
        reporter,
        skip_unreadable=True,
    )
    return cases, modality, preprocessing


def _provenance(
    settings: PretrainSettings, shape: NetworkSettings, modality: str, cases: Sequence[TrainingCase]
) -> dict[str, Any]:
    """Everything that made this run, without paths or names."""
    return {
        "method": "MAE",
        "mae": settings.mae.to_json(),
        "network": shape.to_json(),
        "modality": modality,
        "budget": asdict(settings.budget),
        "batch": settings.batch,
        "learning_rate": settings.learning_rate,
        "augmentation": settings.augmentation.to_json(),
        "seed": settings.seed,
        "volumes": len(cases),
        "data_sha256": data_hashes(cases),
        "versions": {"mimseg": __version__, "torch": torch.__version__},
    }


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
