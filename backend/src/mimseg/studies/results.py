"""What finished runs left behind. A file that is missing, unfinished or contradicts its plan gives no number at all."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimseg.studies.design import Variant
from mimseg.studies.plan import FINETUNING, PRETRAINING, Plan, Run
from mimseg.studies.statistics import Comparison, Estimate, Pair, compare, estimate

SCORES = "scores.json"
SCORES_FORMAT = "mimseg-study-run"
# Name and variants of what is compared, name and variants of what it is compared with.
Group = tuple[str, Sequence[Variant], str, Sequence[Variant]]
COST = ("tokens", "encoder_parameters", "decoder_parameters", "gflop_per_step", "memory_bytes", "seconds_per_step")


@dataclass(frozen=True)
class Finished:
    """One finished training.

    Attributes:
        steps: As planned.
        seconds: Of training and validation, on `machine`.
        machine: The computer, in words.
        cost: By the names in `COST`.
        curve_steps: Steps of the validations.
        curve: Validation Dice (fine-tuning) or loss (pre-training) there.
        dice: Mean foreground Dice of each case, of the weights that validated best; NaN for a case that shows no
            structure and in which none was found; empty for a pre-training.
        rows: Scores of each case and structure; empty for a pre-training.
    """

    steps: int
    seconds: float
    machine: str
    cost: dict[str, float]
    curve_steps: tuple[int, ...]
    curve: tuple[float, ...]
    dice: NDArray[np.float64]
    rows: tuple[dict[str, Any], ...]

    @property
    def best_loss(self) -> float:
        """Lowest validation loss of a pre-training."""
        return min(self.curve)


class Unusable(ValueError):
    """A run whose files give no numbers."""


@dataclass(frozen=True)
class Results:
    """A plan and all that was measured of it.

    Attributes:
        plan: The plan.
        finished: By name of the run.
        missing: Runs without usable files and why, for people.
    """

    plan: Plan
    finished: dict[str, Finished]
    missing: tuple[tuple[Run, str], ...]

    def finetuning(self, variant: Variant, seed: int) -> Finished | None:
        """A finished fine-tuning whose pre-training is finished as well."""
        run = self.plan.find(variant.name, FINETUNING, seed)
        if run is None or (run.initial and run.initial not in self.finished):
            return None
        return self.finished.get(run.name)

    def pretraining(self, variant: Variant, seed: int | None = None) -> Finished | None:
        """The finished pre-training of a variant, of the first seed unless another is asked for."""
        run = self.plan.find(variant.name, PRETRAINING, self.plan.design.seeds[0] if seed is None else seed)
        return self.finished.get(run.name) if run is not None and run.kind == PRETRAINING else None

    def finetunings(self, variant: Variant) -> list[Finished] | None:
        """One for each seed, or None if one is missing."""
        found = [self.finetuning(variant, seed) for seed in self.plan.design.seeds]
        return None if any(run is None for run in found) else [run for run in found if run is not None]

    def dice(self, variants: Sequence[Variant]) -> NDArray[np.float64] | None:
        """Dice `(variants, seeds, cases)`, or None if a run is missing."""
        runs = [self.finetunings(variant) for variant in variants]
        if not runs or any(run is None for run in runs):
            return None
        return np.array([[run.dice for run in group] for group in runs if group is not None])

    def estimate(self, variant: Variant) -> Estimate | None:
        """Summary of a variant's Dice, or None if a run is missing."""
        dice = self.dice([variant])
        return None if dice is None else estimate(dice[0], self.plan.subjects)

    def compare(self, groups: Sequence[Group]) -> tuple[list[Comparison], list[str]]:
        """Compare groups of variants, all tests of a study at once.

        Args:
            groups: What the claim compares.

        Returns:
            The comparisons, and in words those that cannot be made because runs are missing.
        """
        pairs, impossible = [], []
        for first, first_variants, second, second_variants in groups:
            left, right = self.dice(first_variants), self.dice(second_variants)
            if left is None or right is None:
                impossible.append(f"{first} against {second}")
                continue
            # Where nothing is to be found, a run that finds nothing is right if another one finds something.
            scored = np.isfinite([*left, *right]).any(axis=(0, 1))
            own, other = (np.where(scored, np.nan_to_num(dice, nan=1.0), np.nan).mean(axis=0) for dice in (left, right))
            pairs.append(Pair(first, second, own, other))
        return compare(pairs, self.plan.subjects), impossible


def read_results(plan: Plan, runs: Path) -> Results:
    """Read every run of a plan.

    Args:
        plan: The plan.
        runs: Folder that holds the runs' folders.
    """
    finished: dict[str, Finished] = {}
    missing: dict[str, tuple[Run, str]] = {}
    for run in plan.runs:
        try:
            finished[run.name] = read_run(run, run.folder(runs), len(plan.subjects))
        except Unusable as fault:
            missing[run.name] = (run, str(fault))
    return Results(plan, finished, tuple(missing.values()))


def read_run(run: Run, folder: Path, cases: int) -> Finished:
    """Read and check the files of one run.

    Args:
        run: What was planned.
        folder: Where its files lie.
        cases: Number of validation cases.

    Raises:
        Unusable: A file is missing, unfinished, damaged or of another run.
    """
    if not (folder / SCORES).is_file():
        raise Unusable("not finished" if (folder / "checkpoint.pt").is_file() else "not started")
    try:
        content = json.loads((folder / SCORES).read_text(encoding="utf-8"))
        if content["format"] != SCORES_FORMAT or content["run"] != run.name:
            raise Unusable(f"{SCORES} belongs to another run")
        name = "validation_loss" if run.kind == PRETRAINING else "validation_dice"
        steps, values = _curve(folder / "log.csv", name)
        if content["steps"] != run.settings["steps"] or steps[-1] != run.settings["steps"]:
            raise Unusable(f"it ended after {content['steps']} of {run.settings['steps']} steps")
        rows = content.get("validation", [])
        return Finished(
            steps=int(content["steps"]),
            seconds=_number(content["seconds"]),
            machine=str(content["machine"]),
            cost={key: _number(content["cost"][key]) for key in COST},
            curve_steps=steps,
            curve=values,
            dice=_dice_by_case(rows, cases) if run.kind == FINETUNING else np.empty(0),
            rows=tuple(rows),
        )
    except Unusable:
        raise
    except (OSError, KeyError, TypeError, ValueError, IndexError) as fault:
        raise Unusable(f"its files are damaged ({type(fault).__name__})") from fault


def _curve(path: Path, name: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    with open(path, newline="", encoding="utf-8") as stream:
        points = [(int(row["step"]), _number(row["value"])) for row in csv.DictReader(stream) if row["name"] == name]
    steps, values = zip(*points, strict=True)
    if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        raise Unusable("its log is out of order")
    return steps, values


def _dice_by_case(rows: Sequence[dict[str, Any]], cases: int) -> NDArray[np.float64]:
    """Mean over the structures that the case or its prediction has; NaN where neither has one."""
    groups: dict[int, list[float]] = {}
    for row in rows:
        values = groups.setdefault(int(row["case"]), [])
        if row["dice"] is not None:
            values.append(_number(row["dice"]))
    if sorted(groups) != list(range(1, cases + 1)):
        raise Unusable(f"it has scores of {len(groups)} cases, but {cases} validate")
    means = np.array([np.mean(groups[case]) if groups[case] else math.nan for case in range(1, cases + 1)])
    if ((means < 0) | (means > 1)).any():
        raise Unusable("a Dice is not between 0 and 1")
    return means


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise Unusable("it has a number that is not finite")
    return number
