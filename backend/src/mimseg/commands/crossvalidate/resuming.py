"""What a cross-validation was begun with, and whether it may go on or be finished."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mimseg.commands.crossvalidate.settings import CrossvalidationSettings
from mimseg.commands.finetune.data import LabelledData
from mimseg.commands.finetune.plan import TrainingPlan
from mimseg.commands.finetune.record import training_record
from mimseg.commands.finetune.run import training_folder
from mimseg.commands.finetune.settings import FinetuneSettings
from mimseg.errors import UserError
from mimseg.networks.settings import NetworkSettings
from mimseg.training.run_folder import comparable
from mimseg.training.start.initial_weights import InitialWeights

LAYOUT = "folds.json"
# Recorded since folds of different recipes were mixed; a cross-validation begun before goes on without them.
_START, _BUDGET, _OWN = "start", "budget_of_a_training", "own_recipe"
_WORDS = {
    _START: "the start weights (--init)",
    _BUDGET: "the minutes or steps of a training",
    _OWN: "the pre-training on own volumes",
    "training_sha256": "the scans",
}


def identity(
    settings: CrossvalidationSettings, folds: Sequence[int], initial: InitialWeights | None, runs: int
) -> dict[str, Any]:
    """What is known before a case is read: it must be the same for folds that are scored together.

    Args:
        settings: All choices.
        folds: Number of the fold of each case.
        initial: What `settings.finetune.initial` names.
        runs: How many trainings share the minutes.
    """
    own = settings.own_pretraining
    return {
        "folds": list(folds),
        "compare": settings.compare,
        "own_pretraining": own is not None,
        _START: initial.sha256 if initial else None,
        _BUDGET: asdict(settings.budget_of(runs)),
        _OWN: own and {
            "budget": asdict(own.budget), "method_settings": own.method_settings, "batch": own.batch,
            "schedule": own.schedule.to_json(), "augmentation": own.augmentation.to_json(),
        },
    }  # fmt: skip


def recipe(
    settings: FinetuneSettings, network: NetworkSettings, data: LabelledData, plan: TrainingPlan
) -> dict[str, Any]:
    """How every fold is trained and scored; what the user left open is as planned."""
    record = training_record(settings, network, data)
    return {
        **{key: value for key, value in record.items() if key not in ("budget", "network")},
        "network": network.changed(window=settings.window or plan.window).to_json(),
        "batch": settings.batch or plan.batch,
        "overlap": settings.overlap,
        "locator": settings.locator.to_json() if settings.locator else None,
    }


def check_same(work: Path, now: dict[str, Any], finish: bool = False) -> None:
    """Refuse to go on with other settings than the cross-validation was begun with, its budget included.

    Args:
        work: Its folder.
        now: The present ones; what an older mimseg did not record is not compared.
        finish: The budget does not matter: nothing is trained any more.

    Raises:
        UserError: Naming what differs.
    """
    started = read_layout(work)
    asked = json.loads(json.dumps({key: value for key, value in now.items() if key in started}))
    if finish:
        asked.pop(_BUDGET, None)
    differing = [key for key, value in asked.items() if comparable(key, value) != comparable(key, started[key])]
    if differing:
        raise UserError(
            f"The cross-validation in {work} was begun with other settings: "
            f"{', '.join(_WORDS.get(key, key) for key in differing)}.",
            "Resume with the same options and data: scores of folds that were trained in different ways say nothing "
            "together. For another training, give another name with -o.",
            "settings-differ",
        )


def read_layout(work: Path) -> dict[str, Any]:
    """What a cross-validation was begun with.

    Raises:
        UserError: It cannot be read.
    """
    try:
        return dict(json.loads((work / LAYOUT).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as fault:
        raise UserError(
            f"The settings of the run in {work} cannot be read ({fault}).", "Start again.", "bad-run"
        ) from fault


def begun_before_preprocessing_was_recorded(work: Path) -> bool:
    """Whether the cross-validation in `work` was begun by a mimseg that did not yet record it beside the plan."""
    stored = read_layout(work)
    return "plan" in stored and "preprocessing" not in stored


def check_no_other_training(settings: FinetuneSettings, needed: Sequence[Path]) -> None:
    """The model itself is trained after all folds: what lies in its folder before that is of another training."""
    folder = training_folder(settings.output)
    if not all(path.is_file() for path in needed) and folder.exists() and any(folder.iterdir()):
        raise UserError(
            f"{folder} holds files of another training, but this model is to be trained there after the folds.",
            "Move that folder elsewhere, then resume.",
            code="output-exists",
        )


def check_finishable(settings: FinetuneSettings, needed: Sequence[Path]) -> None:
    """Only the model on all cases can be finished early: an unfinished fold has no honest score."""
    done = sum(path.is_file() for path in needed)
    if done < len(needed):
        raise UserError(
            f"Only {done} of {len(needed)} trainings of the cross-validation are done: the model would have no scores.",
            "Continue with --resume; a shorter way is a training without --folds.",
            "not-finishable",
        )
    if not (training_folder(settings.output) / "checkpoint.pt").is_file():
        raise UserError("The training of the model itself has not begun.", "Continue with --resume.", "not-finishable")
