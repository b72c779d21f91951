"""Fine-tune on few cases and score honestly: every case by a network that saw neither it nor its subject."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mimseg.commands.crossvalidate.pictures import draw_worst_case
from mimseg.commands.crossvalidate.report import write_fold_report
from mimseg.commands.crossvalidate.resuming import (
    LAYOUT,
    begun_before_preprocessing_was_recorded,
    check_finishable,
    check_no_other_training,
    check_same,
    identity,
    read_layout,
    recipe,
)
from mimseg.commands.crossvalidate.scores import by_whom, cross_validation_scores
from mimseg.commands.crossvalidate.settings import SCRATCH, START, WITHOUT_OWN, CrossvalidationSettings
from mimseg.commands.crossvalidate.whole_run import WholeRun
from mimseg.commands.finetune.checking import stop_at_errors
from mimseg.commands.finetune.data import LabelledData, load_whole_data, scheme_of
from mimseg.commands.finetune.plan import TrainingPlan, as_passed_over, of_all_runs
from mimseg.commands.finetune.probe import plan_training
from mimseg.commands.finetune.run import Trained, check_folders, pieces_of_model, train, training_folder, write_model
from mimseg.commands.finetune.settings import FinetuneSettings
from mimseg.commands.finetune.training_device import choose_device
from mimseg.commands.pretrain.run import pretrain
from mimseg.data.cases import Case, load_dataset, pick_cases
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.stopping import check
from mimseg.training.folds import assign_folds
from mimseg.training.run_folder import can_resume, check_run_folder, write_json
from mimseg.training.start.initial_weights import InitialWeights, read_initial_weights
from mimseg.training.start.known_cases import refuse_supervised, what_start_knows
from mimseg.training.validation import score_cases


def crossvalidate(settings: CrossvalidationSettings, reporter: Reporter) -> Path:
    """Pre-train on own volumes if asked, train and score every fold, then the model on all cases.

    Everything but the model lies in `<output>.folds`, the model's own training in `<output>.training`. A run that was
    killed at any moment goes on with the fold, and the step, where it was.

    Returns:
        The model bundle, which carries the scores of the folds.

    Raises:
        UserError: The data, the start weights or the settings are not usable, there is nothing to finish, or files of
            something else lie where it would work.
        Stopped: The user stopped; `--resume` goes on where it was.
    """
    chosen, work = settings.finetune, folds_folder(settings.finetune.output)
    check_folders(chosen.output, work, chosen.resume, LAYOUT)
    if not chosen.resume:
        check_run_folder(training_folder(chosen.output), resume=False)
    cases = labelled_cases(chosen)
    subjects = [case.subject or case.identifier for case in cases]
    unknown = sum(not case.subject for case in cases)
    folds = assign_folds(subjects, settings.folds, chosen.seed)
    count, arms = max(folds) + 1, settings.arms
    given = read_initial_weights(chosen.initial) if chosen.initial else None
    if not chosen.resume:
        dataset = load_dataset(chosen.data, True, chosen.orientation)
        empty = stop_at_errors(dataset, cases, (), scheme_of(dataset, cases, chosen, Reporter()), reporter)
        _refuse_folds_without_structures(cases, folds, empty)
        refuse_supervised(given, cases)
    runs = [(fold, arm) for fold in range(count) for arm in arms]
    layout = identity(settings, folds, given, len(runs) + 1)
    if chosen.resume:
        check_same(work, layout, chosen.finish)
    else:
        work.mkdir(parents=True, exist_ok=True)
        write_json(work / LAYOUT, layout)
    results = [work / f"{_name(*run)}.json" for run in runs]
    if chosen.resume:
        check_no_other_training(chosen, results)
    if chosen.finish:
        check_finishable(chosen, results)
    whole = WholeRun(reporter, settings.parts(len(runs)))
    # The network, and with it the plan, is known before a pre-training of one's own, unless that one makes it.
    own_network = settings.own_pretraining is not None and given is None
    starts = _starts(settings, work, whole) if own_network else {START: chosen.initial}
    initial = read_initial_weights(str(starts[START])) if own_network else given
    if chosen.resume and begun_before_preprocessing_was_recorded(work):
        chosen = as_passed_over(chosen)
    data = load_whole_data(chosen, cases, initial, reporter)
    plan = _plan(settings, work, layout, initial, data, len(runs) + 1, reporter)
    _announce(plan, folds, data, unknown, reporter)
    starts = _starts(settings, work, whole)
    # Every arm trains the same network in the same way.
    shared = replace(
        chosen, budget=settings.budget_of(len(runs) + 1), batch=plan.batch, window=plan.window,
        network=initial.network if initial else chosen.network,
        device="cpu" if plan.device == "cpu" and chosen.device == "auto" else chosen.device,
    )  # fmt: skip
    first = len(settings.parts(0)) - 1
    for number, (fold, arm) in enumerate(runs):
        reporter.progress("folds", number, len(runs) + 1)
        whole.begin(first + number)
        one = replace(shared, initial=starts[arm], output=work / _name(fold, arm), finish=False)
        _train_fold(one, data, cases, [index for index, own in enumerate(folds) if own == fold], arm, plan, whole)
    reporter.progress("folds", len(runs), len(runs) + 1)
    whole.begin(first + len(runs))
    final = replace(shared, initial=starts[START], resume=can_resume(training_folder(chosen.output)))
    trained = _first_process(train(final, whole, replace(data, validation=[]), plan, provisional=True))
    reporter.progress("folds", len(runs) + 1, len(runs) + 1)
    whole.end()
    finished = {arm: [_read_fold(work, fold, arm) for fold in range(count)] for arm in arms}
    rows = {arm: _rows_of(own) for arm, own in finished.items()}
    steps = {arm: [fold["steps"] for fold in own] for arm, own in finished.items()}
    pretrained = settings.own_pretraining is not None
    scores = cross_validation_scores(rows, data.labels, subjects, count, unknown, steps, pretrained)
    scores = {**what_start_knows(trained.record["pretraining"], data.training), **scores}
    write_fold_report(work, rows, scores, [case.identifier for case in cases], folds)
    if "verdict" in scores:
        reporter.info(scores["verdict"])
    write_model(chosen, trained, scores, reporter, report=str(work / "report.html"))
    return chosen.output


def folds_folder(output: Path) -> Path:
    """Where the cross-validation of a model works."""
    return output.with_name(output.name + ".folds")


def labelled_cases(settings: FinetuneSettings) -> tuple[Case, ...]:
    """The cases of a cross-validation.

    Raises:
        UserError: Validation cases were chosen.
    """
    labelled = tuple(
        case for case in load_dataset(settings.data, True, settings.orientation).cases if case.label is not None
    )
    if settings.validation:
        raise UserError(
            "--validation and --folds exclude each other.", "Folds use every case for validation once.", "bad-usage"
        )
    return pick_cases(labelled, settings.cases) if settings.cases else labelled


def _refuse_folds_without_structures(cases: Sequence[Case], folds: Sequence[int], empty: Collection[str]) -> None:
    """A fold that holds out all cases that show something would train on cases that show nothing."""
    shown = [(case, fold) for case, fold in zip(cases, folds, strict=True) if case.identifier not in empty]
    if len({fold for _, fold in shown}) == 1:
        names = ", ".join(case.identifier for case, _ in shown[:5]) + (" ..." if len(shown) > 5 else "")
        raise UserError(
            f"Only {names} show{'s' if len(shown) == 1 else ''} any structure, all in one fold; the labelmaps of the "
            "others are empty. Where that fold is held out, there is nothing to learn.",
            "Label more cases, choose another number of folds or another seed, or train without folds.",
            "nothing-labelled",
        )


def _name(fold: int, arm: str) -> str:
    return f"fold-{fold + 1}-{arm}"


def _starts(settings: CrossvalidationSettings, work: Path, reporter: Reporter) -> dict[str, str | None]:
    """What each arm of the comparison starts from; the pre-training on own volumes is done here."""
    base = settings.finetune.initial
    starts = {START: base, SCRATCH: None, WITHOUT_OWN: base}
    if settings.own_pretraining is not None:
        folder = work / "pretraining"
        if not (folder / "pretraining.json").is_file():
            own = replace(settings.own_pretraining, output=folder, initial=base, resume=can_resume(folder))
            pretrain(own, reporter)
        starts[START] = str(folder)
    return {arm: starts[arm] for arm in settings.arms}


def _plan(
    settings: CrossvalidationSettings,
    work: Path,
    layout: dict[str, Any],
    initial: InitialWeights | None,
    data: LabelledData,
    runs: int,
    reporter: Reporter,
) -> TrainingPlan:
    """The plan that all trainings share: made once, kept for those that resume."""
    chosen = replace(settings.finetune, budget=settings.budget_of(runs))
    network = initial.network if initial else chosen.network
    stored = read_layout(work).get("plan")
    if stored is not None:
        plan = TrainingPlan.from_json(stored)
        check_same(work, recipe(chosen, network, data, plan))
        return plan
    device = choose_device(chosen.device, reporter)
    one, _, _ = plan_training(chosen, initial, data, device)
    plan = of_all_runs(one, runs, settings.own_pretraining.budget if settings.own_pretraining else None)
    write_json(work / LAYOUT, {**layout, **recipe(chosen, network, data, plan), "plan": plan.to_json()})
    return plan


def _announce(plan: TrainingPlan, folds: Sequence[int], data: LabelledData, unknown: int, reporter: Reporter) -> None:
    count = max(folds) + 1
    kind = "leave-one-out" if count == len(folds) else f"{count}-fold"
    structures = [label.name for label in data.labels]
    reporter.start(
        "finetune", device=plan.device, precision=plan.precision, cases=len(folds), folds=count, runs=plan.runs,
        structures=structures, plan=plan.to_json(),
    )  # fmt: skip
    reporter.info(f"{kind} cross-validation {by_whom(len(folds), unknown)}.")
    reporter.info(f"{plan.runs - 1} trainings, then the model on all cases.")
    reporter.info(plan.in_words())


def _train_fold(
    settings: FinetuneSettings,
    data: LabelledData,
    cases: Sequence[Case],
    held_out: Sequence[int],
    arm: str,
    plan: TrainingPlan,
    reporter: Reporter,
) -> None:
    """Train and score one fold, unless that is done."""
    target = settings.output.with_name(settings.output.name + ".json")
    if target.is_file():
        return
    check()
    held = {cases[index].identifier for index in held_out}
    training = [case for case in data.training if case.identifier not in held]
    validation = [case for case in data.training if case.identifier in held]
    # The fold's own cases only score: choosing the best weights by them would flatter the score.
    own = replace(settings, resume=can_resume(training_folder(settings.output)))
    trained = _first_process(train(own, reporter, replace(data, training=training, validation=[]), plan))
    pieces = pieces_of_model(own, trained)  # of the training cases alone: the fold's own tell nothing
    scores = score_cases(trained.network, validation, data.labels, trained.shape, settings.overlap, reporter, pieces)
    rows = [{**row, "case": held_out[row["case"] - 1] + 1} for row in scores["validation"]]
    if arm == START:
        picture = target.with_suffix(".png")
        draw_worst_case(picture, rows, data, trained.network, trained.shape, settings.overlap, pieces)
    write_json(target, {"rows": rows, "steps": trained.record["finetuning"]["steps"]})
    (training_folder(settings.output) / "checkpoint.pt").unlink(missing_ok=True)


def _first_process(trained: Trained | None) -> Trained:
    if trained is None:
        raise UserError("Cross-validation runs in one process.", "Leave out --devices and --nodes.", "bad-usage")
    return trained


def _read_fold(work: Path, fold: int, arm: str) -> dict[str, Any]:
    return json.loads((work / f"{_name(fold, arm)}.json").read_text(encoding="utf-8"))


def _rows_of(folds: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted((row for fold in folds for row in fold["rows"]), key=lambda row: row["case"])
