"""Pre-train an encoder on unlabelled volumes by one of the methods of `mimseg.networks.methods`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from mimseg import __version__
from mimseg.commands.pretrain.data import UnlabelledData, load_unlabelled_data
from mimseg.commands.pretrain.settings import PretrainSettings
from mimseg.events import Reporter
from mimseg.networks.methods import METHODS, load_method, method_settings
from mimseg.networks.methods.pretraining import PretrainingNetwork
from mimseg.networks.methods.reconstruction import MaskedReconstruction
from mimseg.networks.settings import PatchNetworkSettings, pretrainable
from mimseg.training.crops.cache import TrainingCase
from mimseg.training.crops.draw import draw_unlabelled_batch, fixed_crops, generator_for
from mimseg.training.loop import LoopSettings, Task, Training, make_fabric
from mimseg.training.memory.cost import Cost, measure_cost
from mimseg.training.optimiser.schedule import parameter_groups
from mimseg.training.planning import LARGEST_WINDOW, plan_window
from mimseg.training.precision import fabric_in_best_precision
from mimseg.training.reconstruction import draw_reconstruction
from mimseg.training.run_folder import (
    check_run_folder,
    check_same_settings,
    data_hashes,
    read_started,
    write_json,
)
from mimseg.training.start.initial_weights import InitialWeights, read_initial_weights
from mimseg.training.start.pretrained_run import PretrainedRun, write_pretrained
from mimseg.training.start.transfer import TransferReport, transfer

VALIDATION_CROPS = 16
# Volumes in the step that cost is counted with; SimCLR needs two.
EXAMPLE = 2


def pretrain(settings: PretrainSettings, reporter: Reporter) -> Path:
    """Run or resume a pre-training.

    Returns:
        The run folder: `pretraining.json`, `encoder.safetensors`, `checkpoint.pt`, `log.csv`, `curves.png`,
        `cost.json`, and `reconstruction.png` if the method reconstructs.

    Raises:
        UserError: No readable volume, settings that do not fit, or a run that is already there.
        Stopped: The user stopped; `--resume` continues.
    """
    folder = settings.output
    check_run_folder(folder, settings.resume)
    chosen = method_settings(settings.method, settings.method_settings)
    fabric = make_fabric(settings.device, "32-true", settings.devices, settings.nodes)
    if not fabric.is_global_zero:
        reporter = Reporter()
    asked = settings.network if settings.network_asked else None
    initial = read_initial_weights(settings.initial, asked) if settings.initial else None
    data = load_unlabelled_data(settings, initial, reporter)
    shape = _shape(settings, initial, data.training, fabric.device.type)
    torch.manual_seed(settings.seed)
    network = load_method(settings.method)(shape, chosen)
    report = _take_over(network, initial)
    asked_precision = settings.precision
    if settings.resume and asked_precision == "auto":
        asked_precision = _precision_as_started(folder, fabric.device.type)
    fabric, precision = fabric_in_best_precision(
        fabric, settings.device, asked_precision, settings.devices, settings.nodes, _Whole(network),
        (shape.channels, *shape.window), asked_precision == "auto",
    )  # fmt: skip
    task = _task(settings, fabric, data, network, folder)
    cost = _cost(settings, fabric, data, network)
    _announce(fabric, precision, settings, data, network, cost, report, reporter)
    provenance = _provenance(settings, chosen, network, data, initial)
    if settings.resume:
        check_same_settings(folder, provenance)
    elif fabric.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
        chosen_here = {"device": fabric.device.type, "precision": precision}
        write_json(folder / "settings.json", {**provenance, **chosen_here})
        write_json(folder / "cost.json", cost.to_json())
    loop = LoopSettings(settings.budget, settings.schedule, settings.validations, seed=settings.seed)
    training = Training(fabric, task, loop, folder, reporter, settings.resume)
    training.run()
    if fabric.is_global_zero:
        state = training.state
        provenance.update(cost.to_json(), steps=state.step, seconds=round(state.seconds, 1))
        provenance.update(validation_loss=state.best, transfer=report.to_json() if report else None)
        weights = training.best_weights()
        own = {name[8:]: value for name, value in weights.items() if name.startswith("encoder.")}
        encoder = {f"{shape.encoder}.{name}": value for name, value in own.items()}
        write_pretrained(folder, PretrainedRun(shape, data.preprocessing, data.modality, provenance), encoder)
        reporter.result(run=str(folder), validation_loss=state.best, steps=state.step)
    return folder


def _precision_as_started(folder: Path, device_type: str) -> str:
    """The precision that a run was started with on such a device; `auto` on another, or if an older mimseg began it.

    Timed again it might be another one: a run would not go on as it began.
    """
    started = read_started(folder)
    return str(started.get("precision", "auto")) if started.get("device") == device_type else "auto"


def _shape(
    settings: PretrainSettings, initial: InitialWeights | None, cases: Sequence[TrainingCase], device_type: str
) -> PatchNetworkSettings:
    """Shape of the network: that of the start weights, its window from the user, them, or the data."""
    base = pretrainable(initial.network if initial else settings.network)
    window = settings.window or (initial.network.window if initial else None)
    if window is None:
        sizes = [tuple(case.image.shape[1:]) for case in cases]
        window = plan_window(sizes, base.patch_size, LARGEST_WINDOW[device_type])
    return replace(base, window=window, channels=int(cases[0].image.shape[0]), classes=1)


def _take_over(network: PretrainingNetwork, initial: InitialWeights | None) -> TransferReport | None:
    """Load the encoder of the start weights."""
    if initial is None:
        return None
    prefix = network.network.encoder
    encoder = {name: value for name, value in initial.weights.items() if name.startswith(f"{prefix}.")}
    holder = nn.ModuleDict({prefix: network.encoder})
    return transfer(holder, network.network, encoder, initial.network, initial.name)


def _cost(settings: PretrainSettings, fabric: Fabric, data: UnlabelledData, network: PretrainingNetwork) -> Cost:
    shape = network.network
    crops = fixed_crops(data.training, shape.window, settings.augmentation, EXAMPLE, network.views, settings.seed)
    example = crops, network.draw_mask(len(crops), generator_for(settings.seed, 5))
    return measure_cost(
        fabric, network, network.encoder, shape.tokens, _loss_of, example, settings.batch / EXAMPLE
    )  # fmt: skip


def _announce(
    fabric: Fabric,
    precision: str,
    settings: PretrainSettings,
    data: UnlabelledData,
    network: PretrainingNetwork,
    cost: Cost,
    report: TransferReport | None,
    reporter: Reporter,
) -> None:
    reporter.start(
        "pretrain",
        method=METHODS[settings.method].title,
        network=network.network.name,
        device=str(fabric.device),
        processes=fabric.world_size,
        precision=precision,
        volumes=len(data.training),
        held_out=len(data.validation) if data.validation is not data.training else 0,
        window=list(network.network.window),
        patch_size=network.network.patch_size,
        cost={**cost.to_json(), **cost.expectation(settings.budget)},
    )
    reporter.info(cost.in_words(settings.budget, str(fabric.device)))
    if report is not None:
        reporter.info(report.summary())
    advice = network.advice(settings.batch)
    if advice:
        reporter.warning("few-negatives", advice)


def _task(
    settings: PretrainSettings, fabric: Fabric, data: UnlabelledData, network: PretrainingNetwork, folder: Path
) -> Task:
    shape, seed = network.network, settings.seed
    crops = fixed_crops(
        data.validation, shape.window, settings.augmentation, VALIDATION_CROPS, network.views, seed
    ).to(fabric.device)  # fmt: skip
    masks = network.draw_mask(len(crops), generator_for(seed, 3))
    masks = masks if masks is None else masks.to(fabric.device)

    def make_batch(step: int) -> tuple[Tensor, Tensor | None]:
        images = draw_unlabelled_batch(
            data.training, shape.window, settings.augmentation, settings.batch, network.views, seed, step,
            fabric.global_rank, fabric.world_size, settings.crops_per_volume,
        )  # fmt: skip
        return images, network.draw_mask(len(images), generator_for(seed, 4, step, fabric.global_rank))

    def validate(average: nn.Module, step: int) -> dict[str, float]:
        if fabric.is_global_zero and masks is not None and isinstance(average, MaskedReconstruction):
            draw_reconstruction(folder / "reconstruction.png", average, crops, masks)
        return {"validation_loss": float(average(crops, masks))}

    schedule = settings.schedule
    groups = parameter_groups(
        network, schedule.learning_rate, schedule.weight_decay, shape, 1.0, set(), schedule.optimizer
    )
    return Task(network, groups, make_batch, _loss_of, validate, "validation_loss", False, network.divisible)


def _loss_of(module: nn.Module, batch: Any) -> Tensor:
    return module(*batch)


class _Whole(nn.Module):
    """The encoder on a whole window as a module of one input, to time precision with."""

    def __init__(self, network: PretrainingNetwork) -> None:
        super().__init__()
        self.encoder = network.encoder

    def forward(self, volume: Tensor) -> Tensor:
        return self.encoder(volume)[0]


def _provenance(
    settings: PretrainSettings,
    chosen: Any,
    network: PretrainingNetwork,
    data: UnlabelledData,
    initial: InitialWeights | None,
) -> dict[str, Any]:
    """Everything that made this run, without paths or names."""
    return {
        "method": METHODS[settings.method].title,
        "method_settings": asdict(chosen),
        "initial": initial.provenance if initial else None,
        "network": network.network.to_json(),
        "preprocessing": data.preprocessing.to_json(),
        "modality": data.modality,
        "budget": asdict(settings.budget),
        "batch": settings.batch,
        "crops_per_volume": settings.crops_per_volume,
        "schedule": settings.schedule.to_json(),
        "augmentation": settings.augmentation.to_json(),
        "validations": settings.validations,
        "seed": settings.seed,
        "volumes": len(data.training),
        "data_sha256": data_hashes(data.training),
        "versions": {"mimseg": __version__, "torch": torch.__version__},
    }
