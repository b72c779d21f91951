"""Fine-tune on few cases and score honestly: every case by a network that saw neither it nor its subject."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mimseg.data.cases import Case, load_dataset, pick_cases
from mimseg.errors import UserError
from mimseg.events import InnerReporter, Reporter
from mimseg.stopping import check
from mimseg.tasks.crossvalidation_scores import cross_validation_scores
from mimseg.tasks.finetune import check_folders, train, write_model
from mimseg.tasks.finetune_data import LabelledData, load_whole_data
from mimseg.tasks.finetune_settings import FinetuneSettings
from mimseg.tasks.pretrain import pretrain
from mimseg.tasks.pretrain_settings import PretrainSettings
from mimseg.training.folds import assign_folds
from mimseg.training.initial_weights import read_initial_weights
from mimseg.training.loop import Budget
from mimseg.training.run_folder import check_same_settings, resumable, write_json
from mimseg.training.validation import score_cases

# What a fold is trained from; the first one makes the model.
START, SCRATCH, WITHOUT_OWN = "start", "scratch", "without-own"


@dataclass(frozen=True)
class CrossvalidationSettings:
    """Choices of `mimseg finetune --folds`.

    Attributes:
        finetune: Of the model; its budget is that of everything together, its `validation` is not used.
        folds: Number of folds; 0 lets the number of subjects decide.
        compare: Train the same folds from scratch too, and, after a pre-training of one's own, without that.
        own_pretraining: Pre-train first, on one's own volumes, from `finetune.initial`; its output is not used.
    """

    finetune: FinetuneSettings
    folds: int = 0
    compare: bool = False
    own_pretraining: PretrainSettings | None = None


def crossvalidate(settings: CrossvalidationSettings, reporter: Reporter) -> Path:
    """Pre-train on own volumes if asked, train and score every fold, then the model on all cases.

    Everything but the model lies in `<output>.folds`, the model's own training in `<output>.training`.

    Returns:
        The model bundle, which carries the scores of the folds.

    Raises:
        UserError: The data, the start weights or the settings are not usable.
        Stopped: The user stopped; `--resume` goes on where it was.
    """
    chosen = settings.finetune
    work = chosen.output.with_name(chosen.output.name + ".folds")
    check_folders(chosen.output, work, chosen.resume, "folds.json")
    cases = _labelled_cases(chosen)
    folds = assign_folds([case.subject or case.identifier for case in cases], settings.folds, chosen.seed)
    plan = {"folds": folds, "compare": settings.compare, "own_pretraining": settings.own_pretraining is not None}
    if chosen.resume:
        check_same_settings(work, plan, "folds.json")
    else:
        work.mkdir(parents=True, exist_ok=True)
        write_json(work / "folds.json", plan)
    inner = InnerReporter(reporter)
    starts = _starts(settings, work, inner)
    initial = starts[START]
    data = load_whole_data(chosen, cases, read_initial_weights(initial) if initial else None, reporter)
    runs = [(fold, arm) for fold in range(max(folds) + 1) for arm in starts]
    budget = _share(chosen.budget, len(runs) + 1)
    _announce(chosen, folds, len(runs), data, reporter)
    for number, (fold, arm) in enumerate(runs):
        reporter.progress("folds", number, len(runs) + 1)
        shared = replace(chosen, budget=budget, initial=starts[arm], output=work / f"fold-{fold + 1}-{arm}")
        _train_fold(shared, data, [index for index, own in enumerate(folds) if own == fold], inner)
    reporter.progress("folds", len(runs), len(runs) + 1)
    everything = replace(data, validation=[])
    final = replace(chosen, budget=budget, initial=initial)
    trained = train(replace(final, resume=resumable(_training_folder(final.output))), inner, everything)
    if trained is None:
        raise UserError("Cross-validation runs in one process.", "Leave out --devices and --nodes.", "bad-usage")
    reporter.progress("folds", len(runs) + 1, len(runs) + 1)
    rows = {arm: _read_rows(work, max(folds) + 1, arm) for arm in starts}
    subjects = [case.subject or case.identifier for case in cases]
    scores = cross_validation_scores(rows, data.labels, subjects, max(folds) + 1)
    if "verdict" in scores:
        reporter.info(scores["verdict"])
    write_model(chosen, trained, scores, reporter)
    return chosen.output


def _labelled_cases(settings: FinetuneSettings) -> tuple[Case, ...]:
    labelled = tuple(case for case in load_dataset(settings.data).cases if case.label is not None)
    if settings.validation:
        raise UserError(
            "--validation and --folds exclude each other.", "Folds use every case for validation once.", "bad-usage"
        )
    return pick_cases(labelled, settings.cases) if settings.cases else labelled


def _starts(settings: CrossvalidationSettings, work: Path, reporter: Reporter) -> dict[str, str | None]:
    """What each arm of the comparison starts from."""
    base = settings.finetune.initial
    starts = {START: base}
    if settings.own_pretraining is not None:
        folder = work / "pretraining"
        if not (folder / "pretraining.json").is_file():
            own = replace(settings.own_pretraining, output=folder, initial=base, resume=resumable(folder))
            pretrain(own, reporter)
        starts[START] = str(folder)
        if settings.compare and base is not None:
            starts[WITHOUT_OWN] = base
    if settings.compare and starts[START] is not None:
        starts[SCRATCH] = None
    return starts


def _share(budget: Budget, runs: int) -> Budget:
    """The same for every run: minutes are shared, steps are meant for each."""
    return budget if budget.steps else Budget(minutes=(budget.minutes or 0) / runs)


def _announce(
    settings: FinetuneSettings, folds: Sequence[int], runs: int, data: LabelledData, reporter: Reporter
) -> None:
    count = max(folds) + 1
    kind = "leave-one-out" if count == len(folds) else f"{count}-fold"
    budget = _share(settings.budget, runs + 1)
    length = f"{budget.steps} steps" if budget.steps else f"{budget.minutes:.3g} minutes"
    reporter.start(
        "finetune", cases=len(folds), folds=count, runs=runs + 1, structures=[label.name for label in data.labels]
    )
    reporter.info(f"{kind} cross-validation by subject: {runs} trainings of {length}, then the model on all cases.")


def _train_fold(settings: FinetuneSettings, data: LabelledData, held_out: Sequence[int], reporter: Reporter) -> None:
    """Train and score one fold, unless that is done."""
    target = settings.output.with_name(settings.output.name + ".json")
    if target.is_file():
        return
    check()
    training = [case for index, case in enumerate(data.training) if index not in held_out]
    validation = [data.training[index] for index in held_out]
    # The fold's own cases only score: choosing the best weights by them would flatter the score.
    trained = train(
        replace(settings, resume=resumable(_training_folder(settings.output))), reporter,
        replace(data, training=training, validation=[]),
    )  # fmt: skip
    if trained is None:
        raise UserError("Cross-validation runs in one process.", "Leave out --devices and --nodes.", "bad-usage")
    scores = score_cases(trained.network, validation, data.labels, trained.shape, settings.overlap, reporter)
    rows = [{**row, "case": held_out[row["case"] - 1] + 1} for row in scores["validation"]]
    write_json(target, {"rows": rows, "steps": trained.record["finetuning"]["steps"]})
    (_training_folder(settings.output) / "checkpoint.pt").unlink(missing_ok=True)


def _training_folder(output: Path) -> Path:
    return output.with_name(output.name + ".training")


def _read_rows(work: Path, folds: int, arm: str) -> list[dict[str, Any]]:
    rows = []
    for fold in range(1, folds + 1):
        rows += json.loads((work / f"fold-{fold}-{arm}.json").read_text(encoding="utf-8"))["rows"]
    return sorted(rows, key=lambda row: row["case"])
