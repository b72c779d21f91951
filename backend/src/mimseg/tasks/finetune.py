"""Train a UNETR on labelled cases, from pre-trained weights or from scratch, and write a model bundle."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.losses import DiceCELoss
from torch import nn

from mimseg import __version__
from mimseg.bundle.description import Description
from mimseg.bundle.writer import write_bundle
from mimseg.data.cases import Case, Dataset, load_dataset, pick_cases
from mimseg.data.labels import Label, distinct_color, read_labels
from mimseg.data.preprocessing import Preprocessing
from mimseg.data.volumes import read_channels
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.networks.settings import NetworkSettings
from mimseg.networks.unetr import UNETR
from mimseg.training.augmentation import AugmentationSettings
from mimseg.training.cache import TrainingCase, load_cases
from mimseg.training.crops import draw_batch
from mimseg.training.initial_weights import InitialWeights, read_initial_weights
from mimseg.training.loop import Budget, LoopSettings, make_fabric, train
from mimseg.training.planning import SPACING_SAMPLES, plan_preprocessing, plan_window
from mimseg.training.precision import choose_precision
from mimseg.training.run_folder import data_hashes, write_json
from mimseg.training.schedule import parameter_groups
from mimseg.training.transfer import TransferReport, transfer
from mimseg.training.validation import mean_dice, predict_case, score_cases

LARGEST_WINDOW = {"cpu": 64, "mps": 96, "cuda": 96}


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
        validation: Selection of validation cases, or None for every fifth case (none below five cases).
        labels: JSON file with names, colours, codes; None for what the data set says.
        name: Name of the model; None for that of the output folder.
        title: One line for people.
        window: Voxels, or None to plan.
        spacing: Target spacing in mm, or None to plan.
        modality: `CT`, `MR` or None to guess.
        batch: Crops per step and process.
        learning_rate: AdamW's peak.
        layer_decay: Factor on the learning rate per block of a pre-trained encoder.
        foreground_share: Share of crops centred on a structure.
        augmentation: Of the crops.
        overlap: Of neighbouring windows at inference.
        seed: Decides everything random.
        device: `auto`, `cpu`, `cuda`, `mps`.
        precision: `auto` or a Fabric precision.
        devices: Processes per node.
        nodes: Number of nodes.
        licence: Licence of the model.
        attribution: Whom the training data come from.
        notes: More entries for the bundle's description (intended use, citation, scores of other runs).
        resume: Continue a stopped training.
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
    batch: int = 2
    learning_rate: float = 1e-3
    layer_decay: float = 0.9
    foreground_share: float = 0.33
    augmentation: AugmentationSettings = AugmentationSettings()
    overlap: float = 0.5
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    devices: int | None = None
    nodes: int = 1
    licence: str = "Not stated"
    attribution: str = ""
    notes: dict[str, Any] | None = None
    resume: bool = False


def finetune(settings: FinetuneSettings, reporter: Reporter) -> Path:
    """Run or resume a fine-tuning.

    Returns:
        The model bundle.

    Raises:
        UserError: The data, the start weights or the settings are not usable.
        Stopped: The user stopped; `--resume` continues.
    """
    work = settings.output.with_name(settings.output.name + ".training")
    _check_folders(settings.output, work, settings.resume)
    fabric = make_fabric(settings.device, "32-true", settings.devices, settings.nodes)
    if not fabric.is_global_zero:
        reporter = Reporter()
    dataset = load_dataset(settings.data)
    training, validation = _split(dataset, settings)
    labels = _labels(settings, dataset)
    initial = read_initial_weights(settings.initial) if settings.initial else None
    modality, preprocessing = _preprocessing(settings, training, initial)
    values = [label.value for label in labels]
    cases = load_cases(training, preprocessing, values, reporter, phase="read training cases")
    validating = (
        load_cases(validation, preprocessing, values, reporter, keep=True, phase="read validation cases")
        if validation
        else []
    )
    network, shape, report = _network(settings, initial, cases, len(labels), fabric.device.type)
    precision = settings.precision
    if precision == "auto":
        precision = choose_precision(fabric.device, network, torch.randn(1, shape.channels, *shape.window))
    if precision != "32-true":
        fabric = make_fabric(settings.device, precision, settings.devices, settings.nodes)
    reporter.start(
        "finetune",
        device=str(fabric.device),
        processes=fabric.world_size,
        precision=precision,
        cases=len(cases),
        validation_cases=len(validating),
        structures=[label.name for label in labels],
        window=list(shape.window),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
    )
    reporter.info(report.summary() if report else "Starting from random weights.")
    if fabric.is_global_zero:
        work.mkdir(parents=True, exist_ok=True)
        write_json(work / "transfer.json", report.to_json() if report else None)
    compute_loss = _loss()

    def validate(average: nn.Module, step: int) -> dict[str, float]:
        if not validating or not fabric.is_global_zero:
            return {}
        dice = [mean_dice(predict_case(average, case, shape, settings.overlap), case, len(labels)) for case in validating]
        return {"validation_dice": float(np.mean(dice))}

    pretrained = set(report.loaded + report.resized) if report else set()
    weights, state = train(
        fabric,
        network,
        parameter_groups(network, settings.learning_rate, 0.05, shape.layers, settings.layer_decay, pretrained),
        LoopSettings(settings.budget, settings.seed, average=0.995, validations=20 if validating else 0),
        work,
        lambda step: draw_batch(
            cases, shape.window, settings.augmentation, settings.foreground_share, settings.batch, settings.seed, step,
            fabric.global_rank, fabric.world_size,
        ),
        lambda module, batch, step: compute_loss(module(batch[0]).float(), batch[1]),
        validate,
        "validation_dice",
        True,
        reporter,
        settings.resume,
    )  # fmt: skip
    if not fabric.is_global_zero:
        return settings.output
    network.load_state_dict(weights)
    network.half().float()  # the bundle stores half precision: score exactly what ships
    scores = score_cases(network.eval(), validating, labels, shape, settings.overlap, reporter) if validating else {}
    training_record = {
        "finetuning": _provenance(settings, cases, validating, state.step, state.seconds),
        "pretraining": initial.provenance if initial else None,
        "transfer": report.to_json() if report else None,
    }
    description = _describe(settings, shape, labels, modality, preprocessing, cases, scores, training_record)
    write_bundle(settings.output, network.cpu(), description)
    summary = scores.get("summary", {})
    reporter.result(model=str(settings.output), validation_dice=summary.get("mean_dice"), steps=state.step)
    return settings.output


def _check_folders(output: Path, work: Path, resume: bool) -> None:
    if output.exists() and any(output.iterdir() if output.is_dir() else [output]):
        raise UserError(f"{output} exists already.", "Choose another name for the model.", code="output-exists")
    if resume and not (work / "checkpoint.pt").is_file():
        raise UserError(f"{work} holds no training to resume.", "Leave out --resume to start one.", code="not-found")
    if not resume and work.exists() and any(work.iterdir()):
        raise UserError(
            f"{work} holds an unfinished training.",
            "Continue it with --resume, or delete that folder.",
            code="output-exists",
        )


def _split(dataset: Dataset, settings: FinetuneSettings) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Training and validation cases; no case, and no known subject, is in both."""
    labelled = tuple(case for case in dataset.cases if case.label is not None)
    validation: tuple[Case, ...] = ()
    if settings.validation:
        validation = pick_cases(labelled, settings.validation)
    chosen = {case.identifier for case in validation}
    training = (
        pick_cases(labelled, settings.cases)
        if settings.cases
        else tuple(case for case in labelled if case.identifier not in chosen)
    )
    if not settings.validation and len(training) >= 5:
        validation = training[4::5]
        training = tuple(case for case in training if case not in validation)
    shared = {case.identifier for case in training} & {case.identifier for case in validation}
    subjects = {case.subject for case in training if case.subject} & {case.subject for case in validation}
    if shared or subjects:
        raise UserError(
            f"{', '.join(sorted(shared | subjects)[:5])} is in both training and validation.",
            "Scores on training cases mean nothing: choose disjoint --cases and --validation.",
            code="leaking-validation",
        )
    if not training:
        raise UserError("No case is left for training.", "Choose fewer validation cases.", code="no-dataset")
    return training, validation


def _labels(settings: FinetuneSettings, dataset: Dataset) -> tuple[Label, ...]:
    if settings.labels:
        return read_labels(settings.labels)
    if not dataset.label_names:
        raise UserError(
            f"{settings.data} does not say what its label values mean.",
            "Give a file with --labels: [{\"value\": 1, \"name\": \"liver\"}, ...].",
            code="bad-labels",
        )
    return tuple(
        Label(value, name, distinct_color(index))
        for index, (value, name) in enumerate(sorted(dataset.label_names.items()))
    )


def _preprocessing(
    settings: FinetuneSettings, training: Sequence[Case], initial: InitialWeights | None
) -> tuple[str, Preprocessing]:
    """That of the start weights unless the user overrides a part; otherwise planned from the data."""
    if initial is not None:
        kept = initial.preprocessing
        return initial.modality, replace(kept, spacing=settings.spacing) if settings.spacing else kept
    sample = [read_channels(case.images) for case in training[:: max(1, len(training) // SPACING_SAMPLES)]]
    return plan_preprocessing(sample, settings.modality, settings.spacing)


def _network(
    settings: FinetuneSettings, initial: InitialWeights | None, cases: Sequence[TrainingCase], structures: int, kind: str
) -> tuple[UNETR, NetworkSettings, TransferReport | None]:
    base = initial.network if initial else settings.network
    window = settings.window
    if window is None and initial is not None:
        window = initial.network.window
    if window is None:
        sizes = [tuple(case.image.shape[1:]) for case in cases]
        window = plan_window(sizes, base.patch_size, LARGEST_WINDOW[kind])
    shape = replace(base, window=window, channels=int(cases[0].image.shape[0]), classes=structures + 1)
    torch.manual_seed(settings.seed)
    network = UNETR(shape)
    if initial is None:
        return network, shape, None
    return network, shape, transfer(network, shape, initial.weights, initial.network, initial.name)


def _loss() -> DiceCELoss:
    """Soft Dice over the structures plus cross entropy (Isensee et al., nnU-Net, 2021)."""
    return DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)


def _provenance(
    settings: FinetuneSettings,
    cases: Sequence[TrainingCase],
    validating: Sequence[TrainingCase],
    steps: int,
    seconds: float,
) -> dict[str, Any]:
    return {
        "budget": asdict(settings.budget),
        "steps": steps,
        "seconds": round(seconds, 1),
        "batch": settings.batch,
        "learning_rate": settings.learning_rate,
        "layer_decay": settings.layer_decay,
        "foreground_share": settings.foreground_share,
        "augmentation": settings.augmentation.to_json(),
        "loss": "Dice + cross entropy",
        "seed": settings.seed,
        "training_cases": len(cases),
        "training_sha256": data_hashes(cases),
        "validation_cases": len(validating),
        "validation_sha256": data_hashes(validating),
    }


def default_name(output: Path) -> str:
    """A valid model name made of the name of its folder."""
    return re.sub(r"[^a-z0-9._-]+", "-", output.name.lower()).strip("-._")[:64] or "model"


def _describe(
    settings: FinetuneSettings,
    shape: NetworkSettings,
    labels: tuple[Label, ...],
    modality: str,
    preprocessing: Preprocessing,
    cases: Sequence[TrainingCase],
    scores: dict[str, Any],
    training: dict[str, Any],
) -> Description:
    spacing = np.array(preprocessing.spacing or (1.0, 1.0, 1.0))
    extents = np.array([case.image.shape[1:] for case in cases]) * spacing
    x, y, z = (round(float(edge), 1) for edge in np.median(extents, axis=0))
    values: dict[str, Any] = {
        "name": settings.name or default_name(settings.output),
        "title": settings.title or f"{', '.join(label.name for label in labels)} on {modality}",
        "description": f"UNETR trained on {len(cases)} cases with mimseg {__version__}.",
        "version": "1.0.0",
        "modality": modality,
        "channels": (modality,) if shape.channels == 1 else tuple(f"channel {n + 1}" for n in range(shape.channels)),
        "multilabel": False,
        "preprocessing": preprocessing,
        "window": shape.window,
        "overlap": settings.overlap,
        "labels": labels,
        "network": shape.to_json(),
        "field_of_view_mm": (x, y, z),
        "training": training,
        "scores": scores,
        "licence": settings.licence,
        "attribution": settings.attribution,
        "citation": "",
        "versions": {"mimseg": __version__, "torch": torch.__version__},
    }
    values.update({key: tuple(value) if key == "channels" else value for key, value in (settings.notes or {}).items()})
    return Description(**values)

