"""Pre-train a ViT encoder by masked image modelling (MAE) on unlabelled volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from mimseg import __version__
from mimseg.data.cases import Case, pick_cases, stem
from mimseg.data.preprocessing import Preprocessing
from mimseg.data.volumes import find_volumes, read_volume
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.networks.mae import MaskedAutoencoder, random_mask
from mimseg.networks.settings import NetworkSettings
from mimseg.stopping import check
from mimseg.tasks.pretrain_settings import PretrainSettings
from mimseg.training.cache import TrainingCase, load_cases
from mimseg.training.crops import draw_batch, fixed_crops, generator_for
from mimseg.training.loop import LoopSettings, Task, Training, make_fabric
from mimseg.training.planning import SPACING_SAMPLES, plan_preprocessing, plan_window
from mimseg.training.precision import fabric_in_best_precision
from mimseg.training.reconstruction import draw_reconstruction
from mimseg.training.run_folder import PretrainedRun, check_same_settings, data_hashes, write_json, write_run
from mimseg.training.schedule import parameter_groups

VALIDATION_CROPS = 16
WEIGHT_DECAY = 0.05
LARGEST_WINDOW = {"cpu": 64, "mps": 96, "cuda": 96}


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
    sizes = [tuple(case.image.shape[1:]) for case in cases]
    window = settings.window or plan_window(sizes, settings.network.patch_size, LARGEST_WINDOW[fabric.device.type])
    shape = replace(settings.network, window=window, channels=int(cases[0].image.shape[0]), classes=1)
    torch.manual_seed(settings.seed)
    network = MaskedAutoencoder(shape, settings.mae)
    fabric, precision = fabric_in_best_precision(
        fabric, settings.device, settings.precision, settings.devices, settings.nodes, _Whole(network),
        (shape.channels, *window),
    )  # fmt: skip
    _announce(fabric, precision, settings, cases, network, reporter)
    provenance = _provenance(settings, shape, modality, cases)
    if settings.resume:
        check_same_settings(folder, provenance)
    elif fabric.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "settings.json", provenance)
    task = _task(settings, fabric, cases, network, folder)
    training = Training(fabric, task, LoopSettings(settings.budget, settings.seed), folder, reporter, settings.resume)
    training.run()
    if fabric.is_global_zero:
        state = training.state
        provenance.update(steps=state.step, seconds=round(state.seconds, 1), validation_loss=state.best)
        weights = training.best_weights()
        encoder = {f"vit.{name[8:]}": value for name, value in weights.items() if name.startswith("encoder.")}
        write_run(folder, PretrainedRun(shape, preprocessing, modality, provenance), encoder)
        reporter.result(run=str(folder), validation_loss=state.best, steps=state.step)
    return folder


def _announce(
    fabric: Fabric,
    precision: str,
    settings: PretrainSettings,
    cases: Sequence[TrainingCase],
    network: MaskedAutoencoder,
    reporter: Reporter,
) -> None:
    encoder, all_parameters = _count(network.encoder), _count(network)
    reporter.start(
        "pretrain",
        device=str(fabric.device),
        processes=fabric.world_size,
        precision=precision,
        volumes=len(cases),
        window=list(network.network.window),
        patches=network.network.tokens,
        mask_ratio=settings.mae.mask_ratio,
        encoder_parameters=encoder,
        decoder_parameters=all_parameters - encoder,
    )


def _task(
    settings: PretrainSettings, fabric: Fabric, cases: Sequence[TrainingCase], network: MaskedAutoencoder, folder: Path
) -> Task:
    shape, ratio, seed = network.network, settings.mae.mask_ratio, settings.seed
    crops = fixed_crops(cases, shape.window, VALIDATION_CROPS, seed).to(fabric.device)
    masks = random_mask(len(crops), shape.tokens, ratio, generator_for(seed, 3)).to(fabric.device)

    def make_batch(step: int) -> tuple[Tensor, Tensor]:
        images, _ = draw_batch(
            cases, shape.window, settings.augmentation, 0.0, settings.batch, seed, step,
            fabric.global_rank, fabric.world_size,
        )  # fmt: skip
        return images, random_mask(len(images), shape.tokens, ratio, generator_for(seed, 4, step, fabric.global_rank))

    def validate(average: nn.Module, step: int) -> dict[str, float]:
        if fabric.is_global_zero:
            draw_reconstruction(folder / "reconstruction.png", average, crops, masks)  # type: ignore[arg-type]
        return {"validation_loss": float(average(crops, masks))}

    def loss_of(module: nn.Module, batch: Any) -> Tensor:
        return module(*batch)

    groups = parameter_groups(network, settings.learning_rate, WEIGHT_DECAY, shape.layers, 1.0, set())
    return Task(network, groups, make_batch, loss_of, validate, "validation_loss", False, betas=(0.9, 0.95))


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


def _load(settings: PretrainSettings, reporter: Reporter) -> tuple[list[TrainingCase], str, Preprocessing]:
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
