"""The plan of a fine-tuning before anything is started: what the panel shows beside the button."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mimseg.commands.crossvalidate.run import labelled_cases
from mimseg.commands.crossvalidate.settings import CrossvalidationSettings
from mimseg.commands.finetune.data import load_whole_data, split_cases
from mimseg.commands.finetune.drawn_images import write_drawn_images
from mimseg.commands.finetune.plan import TrainingPlan, of_all_runs
from mimseg.commands.finetune.probe import plan_training
from mimseg.commands.finetune.training_device import choose_device
from mimseg.data.cases import Case, load_dataset
from mimseg.events import Reporter
from mimseg.training.folds import assign_folds
from mimseg.training.start.initial_weights import read_initial_weights

# So many cases are read; the window of a larger data set may turn out a little different.
MOST_CASES = 6


def preview_plan(settings: CrossvalidationSettings, folds: bool, reporter: Reporter) -> TrainingPlan:
    """Probe this computer and report the plan as the result; nothing is trained, and nothing written but the picture of
    drawn images, if that is asked for and some are drawn.

    Args:
        settings: As they would be trained with. A pre-training on own volumes is not probed, only counted.
        folds: Whether there is a cross-validation.
        reporter: Gets the plan as the field `plan` of the result, and in words.

    Raises:
        UserError: The data, the start weights or the settings are not usable.
    """
    chosen = settings.finetune
    reporter.start("finetune", plan_only=True)
    runs, validation = 1, ()
    if folds:
        training: Sequence[Case] = labelled_cases(chosen)
        count = max(assign_folds([case.subject or case.identifier for case in training], settings.folds, chosen.seed))
        runs = (count + 1) * len(settings.arms) + 1
    else:
        training, validation = split_cases(load_dataset(chosen.data, True, chosen.orientation), chosen)  # type: ignore[assignment]
    initial = read_initial_weights(chosen.initial) if chosen.initial else None
    sample = training[:: -(-len(training) // MOST_CASES)]
    data = load_whole_data(chosen, sample, initial, reporter)
    one = replace(chosen, budget=settings.budget_of(runs))
    data = replace(data, validation=data.training[:1] if validation else [])
    plan, _, prepared = plan_training(one, initial, data, choose_device(chosen.device, reporter))
    own = settings.own_pretraining
    plan = of_all_runs(plan, runs, own.budget if own else None)
    plan = replace(plan, cases=len(training), validation_cases=len(validation))
    reporter.info(plan.in_words())
    picture, window = chosen.drawn_images, prepared.shape.window
    if picture and not write_drawn_images(picture, data.training, window, chosen.augmentation, chosen.seed):
        picture = None
    reporter.result(plan=plan.to_json(), drawn_images=None if picture is None else str(picture))
    return plan
