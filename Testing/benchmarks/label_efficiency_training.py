"""The trainings of `label_efficiency.py`: one plan, one pre-training, and the same data pipeline for all networks."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from label_efficiency_runs import ARMS, Arm, Run, Task
from torch import nn

from mimseg.cli.options.presets import FINETUNE, PRETRAIN
from mimseg.commands.finetune.data import load_labelled_data
from mimseg.commands.finetune.run import train
from mimseg.commands.finetune.settings import FinetuneSettings
from mimseg.commands.locks import claim, claim_patiently
from mimseg.commands.pretrain.run import pretrain
from mimseg.commands.pretrain.settings import PretrainSettings
from mimseg.events import Reporter
from mimseg.networks.settings import NetworkSettings
from mimseg.networks.table import named_settings
from mimseg.training.augmentation import AugmentationSettings
from mimseg.training.crops.draw import draw_batch
from mimseg.training.loop import Budget
from mimseg.training.losses import dice_and_cross_entropy
from mimseg.training.optimiser.muon import make_optimizer
from mimseg.training.optimiser.schedule import Schedule, parameter_groups
from mimseg.training.precision import possible_precisions
from mimseg.training.run_folder import can_resume, write_json
from mimseg.training.validation import score_cases

BATCH = 2
OVERLAP = 0.25
METHOD = "mae"
LEARNING_RATE, OPTIMIZER = 4e-3, "muon"
PROBE_ROUNDS = 8


def settings_of(task: Task, arm: Arm) -> NetworkSettings:
    """The network of an arm.

    The peer is MONAI's DynUNet as `--network dynunet-small` builds it: nnU-Net's plan for a patch of 40 x 56 x 40 at
    1 mm has three halvings and 32 channels that double. At half that width it does five times as many steps in the
    same minutes and scores higher (README.md).
    """
    return replace(named_settings(arm.network), window=task.window, channels=1, classes=task.classes, **arm.changed)


def schedule() -> Schedule:
    """The preset's, for every arm."""
    return Schedule(learning_rate=LEARNING_RATE, betas=FINETUNE["small"]["betas"], optimizer=OPTIMIZER)


def make_plan(task: Task, data: Path, work: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Steps of every network and number of labelled cases, measured once and then kept."""
    work.mkdir(parents=True, exist_ok=True)
    path = work / "plan.json"
    with claim_patiently(work / "plan.lock"):
        if not path.is_file():
            torch.set_num_threads(1)
            shapes = {ARMS[name].shape: ARMS[name] for name in task.arms}
            networks = {shape: settings_of(task, arm).build() for shape, arm in shapes.items()}
            settings = {shape: settings_of(task, arm) for shape, arm in shapes.items()}
            seconds = _seconds_per_step(task, networks, settings)
            crops = _seconds_of_crops(task, data, work)
            least = {name: min(own.values()) + crops for name, own in seconds.items()}
            minutes = (
                dict(task.minutes) if options["minutes"] is None else dict.fromkeys(task.minutes, options["minutes"])
            )
            plan = {
                "minutes": minutes,
                "pretrain_minutes": options["pretrain_minutes"] or task.pretrain_minutes,
                "seconds_per_step": {**seconds, "crops": crops},
                "steps": {
                    name: {size: max(1, round(60 * own / least[name])) for size, own in minutes.items()}
                    for name in networks
                },
                "precision": {name: min(own, key=lambda key: own[key]) for name, own in seconds.items()},
                "parameters": {
                    name: sum(value.numel() for value in network.parameters()) for name, network in networks.items()
                },
                "settings": {
                    "window": task.window, "spacing": task.spacing, "batch": BATCH, "overlap": OVERLAP,
                    "learning_rate": LEARNING_RATE, "optimizer": OPTIMIZER, "method": METHOD,
                    "augmentation": _augmentation(task).to_json(),
                    "networks": {shape: settings_of(task, arm).to_json() for shape, arm in shapes.items()},
                },
                "machine": _machine(),
            }  # fmt: skip
            write_json(path, plan)
    return json.loads(path.read_text(encoding="utf-8"))


def _augmentation(task: Task) -> AugmentationSettings:
    return AugmentationSettings(flip_left_right=task.mirror)


def _seconds_per_step(
    task: Task, networks: dict[str, nn.Module], settings: dict[str, NetworkSettings]
) -> dict[str, dict[str, float]]:
    """CPU seconds of a step by network and precision: the least of several rounds, networks in turns."""
    compute_loss = dice_and_cross_entropy()
    images = torch.randn(BATCH, 1, *task.window)
    classes = torch.randint(0, task.classes, (BATCH, 1, *task.window)).float()
    least: dict[str, dict[str, float]] = {name: {} for name in networks}
    precisions = possible_precisions(torch.device("cpu"))
    optimizers = {
        (name, precision): _optimizer(network, settings[name], precision)
        for name, network in networks.items()
        for precision in precisions
    }
    for _ in range(PROBE_ROUNDS):
        for name, network in networks.items():
            for precision in precisions:
                began = time.process_time()
                with torch.autocast("cpu", torch.bfloat16, enabled=precision != "32-true"):
                    logits = network(images)
                compute_loss(logits.float(), classes).backward()
                optimizers[name, precision].step()
                network.zero_grad()
                own = time.process_time() - began
                least[name][precision] = min(own, least[name].get(precision, own))
    return least


def _optimizer(network: nn.Module, shape: NetworkSettings, precision: str) -> torch.optim.Optimizer:
    plan = schedule()
    groups = parameter_groups(network, plan.learning_rate, plan.weight_decay, shape, 1.0, set(), plan.optimizer)
    dtype = torch.float32 if precision == "32-true" else torch.bfloat16  # as a training's
    return make_optimizer(groups, plan.betas, dtype=dtype)


def _seconds_of_crops(task: Task, data: Path, work: Path) -> float:
    """CPU seconds of drawing the crops of a step, which every arm pays."""
    settings = FinetuneSettings(
        data=data, output=work / "probe", budget=Budget(1), initial=None,
        network=settings_of(task, ARMS["scratch"]), cases=f"{data / 'splits.json'}:few_shot.seed0.5",
        window=task.window, spacing=task.spacing, modality=task.modality,
    )  # fmt: skip
    cases = load_labelled_data(settings, None, Reporter()).training
    own = []
    for step in range(PROBE_ROUNDS):
        began = time.process_time()
        draw_batch(cases, task.window, _augmentation(task), 0.33, BATCH, 0, step)
        own.append(time.process_time() - began)
    return min(own)


def pretrain_once(task: Task, data: Path, work: Path, plan: dict[str, Any], arm: Arm) -> Path:
    """The pre-training of an arm on the images of the pool; other processes wait for it."""
    folder = work / f"pretraining-{arm.shape}"
    with claim_patiently(work / f"{folder.name}.lock"):
        if (folder / "pretraining.json").is_file():
            return folder
        preset = PRETRAIN["small"]
        names = ("learning_rate", "weight_decay", "warmup", "floor", "betas", "clip", "average", "optimizer")
        settings = PretrainSettings(
            data=(data / "imagesTr",), output=folder, budget=Budget(minutes=plan["pretrain_minutes"]),
            network=settings_of(task, arm), method=METHOD, cases=f"{data / 'splits.json'}:pool",
            window=task.window, spacing=task.spacing, modality=task.modality, batch=preset["batch"], device="cpu",
            schedule=Schedule(**{name: preset[name] for name in names}),
            augmentation=AugmentationSettings(**preset["augmentation"], flip_left_right=task.mirror),
            resume=can_resume(folder),
        )  # fmt: skip
        pretrain(settings, _Lines())
    return folder


def train_all(task: Task, data: Path, work: Path, plan: dict[str, Any], runs: list[Run]) -> None:
    """Train and score what is missing; what another process works on is left to it, and waited for at the end."""
    torch.set_num_threads(1)
    for patient in (False, True):
        for run in runs:
            folder = work / run.name
            if (folder / "scores.json").is_file():
                continue
            with (claim_patiently if patient else claim)(work / f"{run.name}.lock") as mine:
                if mine is not False and not (folder / "scores.json").is_file():
                    train_one(task, data, work, folder, plan, run)


def train_one(task: Task, data: Path, work: Path, folder: Path, plan: dict[str, Any], run: Run) -> None:
    folder.mkdir(exist_ok=True)
    splits = json.loads((data / "splits.json").read_text(encoding="utf-8"))
    cases = splits["pool"] if run.size == "all" else splits["few_shot"][f"seed{run.seed}"][run.size]
    listed = folder / "cases.txt"
    listed.write_text("\n".join(cases), encoding="utf-8")
    arm = ARMS[run.arm]
    start = str(pretrain_once(task, data, work, plan, arm)) if arm.pretrained else None
    output = folder / "model"
    settings = FinetuneSettings(
        data=data, output=output, budget=Budget(plan["steps"][arm.shape][run.size]), initial=start,
        network=settings_of(task, arm), cases=str(listed), validation=f"{data / 'splits.json'}:validation",
        window=task.window, spacing=task.spacing, modality=task.modality, batch=BATCH, schedule=schedule(),
        augmentation=_augmentation(task), overlap=OVERLAP, validations=0, seed=run.seed, device="cpu",
        precision=plan["precision"][arm.shape],
        layer_decay=FINETUNE["small"]["layer_decay"], foreground_share=FINETUNE["small"]["foreground_share"],
        resume=can_resume(folder / "model.training"),
    )  # fmt: skip
    began = time.process_time()
    trained = train(settings, Reporter())
    if trained is None:
        return
    seconds = time.process_time() - began
    loaded = trained.data
    scores = score_cases(trained.network, loaded.validation, loaded.labels, trained.shape, OVERLAP, Reporter())
    write_json(folder / "scores.json", {"run": vars(run), "cpu_seconds": round(seconds, 1), **scores})
    shutil.rmtree(folder / "model.training", ignore_errors=True)
    print(f"{run.name}: {scores['summary']['mean_dice']:.4f} after {seconds:.0f} CPU s", flush=True)


def _machine() -> dict[str, Any]:
    import platform

    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    return {"processor": name, "cores": os.cpu_count(), "torch": torch.__version__, "python": sys.version.split()[0]}


class _Lines(Reporter):
    """A line now and then."""

    def metric(self, name: str, value: float, **more: Any) -> None:
        if name != "loss":
            print(f"pre-training: {name} {value:.4f} {more}", flush=True)
