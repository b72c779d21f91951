"""Train a UNETR on labelled cases, from pre-trained weights or from scratch, and write a model bundle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from mimseg.bundle.writer import write_bundle
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.networks.settings import NetworkSettings
from mimseg.networks.unetr import UNETR
from mimseg.tasks.finetune_data import LabelledData, load_labelled_data
from mimseg.tasks.finetune_record import describe, training_record
from mimseg.tasks.finetune_settings import FinetuneSettings
from mimseg.training.cost import Cost, measure_cost
from mimseg.training.crops import draw_batch
from mimseg.training.initial_weights import InitialWeights, read_initial_weights
from mimseg.training.loop import LoopSettings, Task, Training, make_fabric
from mimseg.training.losses import dice_and_binary_cross_entropy, dice_and_cross_entropy
from mimseg.training.planning import LARGEST_WINDOW, plan_window
from mimseg.training.precision import fabric_in_best_precision
from mimseg.training.run_folder import check_same_settings, write_json
from mimseg.training.schedule import parameter_groups
from mimseg.training.transfer import TransferReport, transfer
from mimseg.training.validation import mean_dice, predict_case, score_cases


@dataclass(frozen=True)
class Trained:
    """A network after training.

    Attributes:
        network: With the averaged weights that validated best.
        shape: Its settings.
        data: What it was trained on.
        record: Everything that made it, without paths or names.
    """

    network: UNETR
    shape: NetworkSettings
    data: LabelledData
    record: dict[str, Any]


def finetune(settings: FinetuneSettings, reporter: Reporter) -> Path:
    """Run, resume or finish a fine-tuning.

    Returns:
        The model bundle.

    Raises:
        UserError: The data, the start weights or the settings are not usable.
        Stopped: The user stopped; `--resume` continues.
    """
    trained = train(settings, reporter)
    if trained is not None:
        network, data = trained.network, trained.data
        network.half().float()  # the bundle stores half precision: score exactly what ships
        scores: dict[str, Any] = {}
        if data.validation:
            scores = score_cases(network, data.validation, data.labels, trained.shape, settings.overlap, reporter)
        write_model(settings, trained, scores, reporter)
    return settings.output


def train(settings: FinetuneSettings, reporter: Reporter, data: LabelledData | None = None) -> Trained | None:
    """Run, resume or finish the training alone, in the folder `<output>.training`.

    Args:
        settings: All choices.
        reporter: Progress and metrics.
        data: The cases, if they are loaded already.

    Returns:
        What was trained; None in all processes but the first.

    Raises:
        UserError, Stopped: As for `finetune`.
    """
    work = settings.output.with_name(settings.output.name + ".training")
    check_folders(settings.output, work, settings.resume)
    fabric = make_fabric(settings.device, "32-true", settings.devices, settings.nodes)
    if not fabric.is_global_zero:
        reporter = Reporter()
    initial = read_initial_weights(settings.initial) if settings.initial else None
    data = data or load_labelled_data(settings, initial, reporter)
    network, shape, report = _network(settings, initial, data, fabric.device.type)
    fabric, precision = fabric_in_best_precision(
        fabric, settings.device, settings.precision, settings.devices, settings.nodes, network,
        (shape.channels, *shape.window),
    )  # fmt: skip
    task = _task(settings, fabric, data, network, shape, report)
    cost = _cost(settings, fabric, task, network, shape)
    _announce(fabric, precision, settings, data, shape, cost, report, reporter)
    recorded = training_record(settings, shape, data)
    if settings.resume:
        check_same_settings(work, recorded)
    elif fabric.is_global_zero:
        work.mkdir(parents=True, exist_ok=True)
        write_json(work / "settings.json", recorded)
        write_json(work / "cost.json", cost.to_json())
        write_json(work / "transfer.json", report.to_json() if report else None)
    loop = LoopSettings(settings.budget, settings.schedule, settings.validations if data.validation else 0)
    training = Training(fabric, task, loop, work, reporter, settings.resume)
    if not settings.finish:
        training.run()
    if not fabric.is_global_zero:
        return None
    record = {
        "finetuning": {**recorded, "steps": training.state.step, "seconds": round(training.state.seconds, 1)},
        "pretraining": initial.provenance if initial else None,
        "transfer": report.to_json() if report else None,
    }
    network.load_state_dict(training.best_weights())
    return Trained(network.eval(), shape, data, record)


def _cost(settings: FinetuneSettings, fabric: Fabric, task: Task, network: UNETR, shape: NetworkSettings) -> Cost:
    images, classes = task.make_batch(0)
    example = images[:1], classes[:1]
    return measure_cost(fabric, network, network.vit, shape.tokens, task.compute_loss, example, settings.batch)


def _announce(
    fabric: Fabric,
    precision: str,
    settings: FinetuneSettings,
    data: LabelledData,
    shape: NetworkSettings,
    cost: Cost,
    report: TransferReport | None,
    reporter: Reporter,
) -> None:
    reporter.start(
        "finetune",
        device=str(fabric.device),
        processes=fabric.world_size,
        precision=precision,
        cases=len(data.training),
        validation_cases=len(data.validation),
        structures=[label.name for label in data.labels],
        window=list(shape.window),
        patch_size=shape.patch_size,
        cost={**cost.to_json(), **cost.expectation(settings.budget)},
    )
    reporter.info(cost.in_words(settings.budget, str(fabric.device)))
    reporter.info(report.summary() if report else "Starting from random weights.")


def _task(
    settings: FinetuneSettings,
    fabric: Fabric,
    data: LabelledData,
    network: UNETR,
    shape: NetworkSettings,
    report: TransferReport | None,
) -> Task:
    compute_loss = dice_and_cross_entropy(settings.include_background)
    membership = data.training[0].membership
    if data.regions is not None and membership is not None:
        compute_loss = dice_and_binary_cross_entropy(membership)

    def make_batch(step: int) -> tuple[Tensor, Tensor | None]:
        return draw_batch(
            data.training, shape.window, settings.augmentation, settings.foreground_share, settings.batch,
            settings.seed, step, fabric.global_rank, fabric.world_size, settings.crops_per_volume,
        )  # fmt: skip

    def validate(average: nn.Module, step: int) -> dict[str, float]:
        if not data.validation or not fabric.is_global_zero:
            return {}
        dice = [mean_dice(predict_case(average, case, shape, settings.overlap), case) for case in data.validation]
        return {"validation_dice": float(np.mean(dice))}

    def loss_of(module: nn.Module, batch: Any) -> Tensor:
        return compute_loss(module(batch[0]).float(), batch[1])

    pretrained = set(report.loaded + report.resized) if report else set()
    schedule = settings.schedule
    groups = parameter_groups(
        network, schedule.learning_rate, schedule.weight_decay, shape.layers, settings.layer_decay, pretrained
    )
    return Task(network, groups, make_batch, loss_of, validate, "validation_dice", True)


def write_model(settings: FinetuneSettings, trained: Trained, scores: dict[str, Any], reporter: Reporter) -> None:
    """Write the bundle of a trained network and report it.

    Args:
        settings: All choices.
        trained: The network.
        scores: What it scored; may be empty.
        reporter: Gets the result.
    """
    description = describe(settings, trained.shape, trained.data, scores, trained.record)
    write_bundle(settings.output, trained.network.cpu(), description)
    dice = scores.get("summary", {}).get("mean_dice")
    reporter.result(model=str(settings.output), validation_dice=dice, steps=trained.record["finetuning"]["steps"])


def check_folders(output: Path, work: Path, resume: bool, needed: str = "checkpoint.pt") -> None:
    """Refuse to overwrite a model or an unfinished training, and to resume what is not there.

    Args:
        output: Folder of the model.
        work: Folder of the training.
        resume: Whether it goes on.
        needed: File in `work` without which it cannot.

    Raises:
        UserError: One of these.
    """
    if output.exists() and any(output.iterdir() if output.is_dir() else [output]):
        raise UserError(f"{output} exists already.", "Choose another name for the model.", code="output-exists")
    if resume and not (work / needed).is_file():
        raise UserError(f"{work} holds no training to resume.", "Leave out --resume to start one.", code="not-found")
    if not resume and work.exists() and any(work.iterdir()):
        raise UserError(
            f"{work} holds an unfinished training.",
            "Continue it with --resume, or delete that folder.",
            code="output-exists",
        )


def _network(
    settings: FinetuneSettings, initial: InitialWeights | None, data: LabelledData, device_type: str
) -> tuple[UNETR, NetworkSettings, TransferReport | None]:
    base = initial.network if initial else settings.network
    window = settings.window or (initial.network.window if initial else None)
    if window is None:
        sizes = [tuple(case.image.shape[1:]) for case in data.training]
        window = plan_window(sizes, base.patch_size, LARGEST_WINDOW[device_type])
    channels = int(data.training[0].image.shape[0])
    shape = replace(base, window=window, channels=channels, classes=data.outputs)
    torch.manual_seed(settings.seed)
    network = UNETR(shape)
    if initial is None:
        return network, shape, None
    report = transfer(network, shape, initial.weights, initial.network, initial.name, settings.allow_incomplete)
    return network, shape, report
