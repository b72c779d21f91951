"""Table, curve and numbers of `label_efficiency.py`, from the scores that finished trainings left; nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from label_efficiency_runs import ARMS, Run, Task, all_runs
from numpy.typing import NDArray

from mimseg.studies.statistics import Comparison, Pair, compare, format_p

Scores = dict[Run, dict[str, Any]]


def people_of(task: Task, names: Sequence[str]) -> list[int]:
    """A number for each validation case that is equal for scans of one person."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(task.person(name), len(numbers)) for name in names]


def write_report(work: Path, target: Path, plan: dict[str, Any], task: Task, people: Sequence[int]) -> str:
    """Write `table.md`, `results.json` and `curve.png` into `target` and return the table."""
    target.mkdir(parents=True, exist_ok=True)
    runs = all_runs(task)
    scores = read_scores(work, runs)
    task = _begun(task, scores)
    missing = [run.name for run in all_runs(task) if run not in scores]
    table = make_table(task, scores, plan, missing, people)
    (target / "table.md").write_text(table, encoding="utf-8")
    results = {
        "plan": plan,
        "pretraining": {path.parent.name: _pretraining(path) for path in sorted(work.glob("*/pretraining.json"))},
        "missing": missing,
        "people": list(people),
        "runs": [
            {
                **vars(run),
                "cpu_seconds": own["cpu_seconds"],
                "mean_dice": own["summary"]["mean_dice"],
                "surface_dice_1mm": surface_dice(own),
                "worst_dice": own["summary"]["worst_dice"],
                "case_dice": [round(float(value), 5) for value in case_dice(own)],
            }
            for run, own in scores.items()
        ],
    }
    (target / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draw_curve(target / "curve.png", task, scores)
    return table


def _begun(task: Task, scores: Scores) -> Task:
    """The arms, sizes and comparisons of a task of which there are scores."""
    arms = tuple(arm for arm in task.arms if any(run.arm == arm for run in scores))
    return replace(
        task,
        arms=arms,
        minutes={size: own for size, own in task.minutes.items() if any(run.size == size for run in scores)},
        comparisons=tuple(pair for pair in task.comparisons if set(pair) <= set(arms)),
    )


def read_scores(work: Path, runs: Sequence[Run]) -> Scores:
    """Scores of the finished trainings."""
    paths = {run: work / run.name / "scores.json" for run in runs}
    return {run: json.loads(path.read_text(encoding="utf-8")) for run, path in paths.items() if path.is_file()}


def case_dice(scores: dict[str, Any]) -> NDArray[np.float64]:
    """Mean foreground Dice of each validation case."""
    rows = scores["validation"]
    numbers = sorted({row["case"] for row in rows})
    return np.array([np.mean([row["dice"] for row in rows if row["case"] == number]) for number in numbers])


def surface_dice(scores: dict[str, Any]) -> float:
    """Mean surface Dice at 1 mm over cases and structures."""
    return float(np.mean([row["surface_dice_1mm"] for row in scores["validation"]]))


def make_table(task: Task, scores: Scores, plan: dict[str, Any], missing: Sequence[str], people: Sequence[int]) -> str:
    """Markdown: a line for each number of labelled cases, and what may be said of the differences."""
    differences = [f"{ARMS[one].title} − {ARMS[other].title}" for one, other in task.comparisons]
    lines = [
        "| labelled cases | " + " | ".join([*(ARMS[arm].title for arm in task.arms), *differences]) + " |",
        "|---|" + "---|" * (len(task.arms) + len(differences)),
    ]
    for size in task.minutes:
        cells = [_cell([own for run, own in scores.items() if (run.arm, run.size) == (arm, size)]) for arm in task.arms]
        lines.append(
            f"| {size} | "
            + " | ".join([*cells, *(_difference(scores, size, *pair, people) for pair in task.comparisons)])
            + " |"
        )
    shapes = dict.fromkeys(ARMS[arm].shape for arm in task.arms)
    steps, minutes = {shape: plan["steps"][shape] for shape in shapes}, plan["minutes"]
    lengths = "; ".join(
        f"{size}: {minutes[size]:g} min, " + ", ".join(str(own[size]) for own in steps.values())
        for size in task.minutes
    )
    floor = f" An image-free prediction scores {task.floor[0]} to {task.floor[1]}." if task.floor else ""
    lines += [
        "",
        "Mean foreground Dice on `validation` (spread over seeds) / surface Dice at 1 mm, both over scans; differences "
        f"are paired over the {len(set(people))} people, with the p of a sign-flip test over people, not corrected for "
        "the number of comparisons. CPU minutes of one core for every training, and the steps "
        f"of {', '.join(steps)} in them: {lengths}. Pre-training: {plan['pretrain_minutes']:g} minutes, once.{floor}",
    ]
    if missing:
        lines.append(f"\nNot finished: {', '.join(missing)}.")
    return "\n".join(lines) + "\n"


def _cell(found: Sequence[dict[str, Any]]) -> str:
    if not found:
        return "–"
    dice = [own["summary"]["mean_dice"] for own in found]
    spread = f" ({min(dice):.3f}–{max(dice):.3f})" if len(dice) > 1 else ""
    return f"{np.mean(dice):.3f}{spread} / {np.mean([surface_dice(own) for own in found]):.3f}"


def _difference(scores: Scores, size: str, one: str, other: str, people: Sequence[int]) -> str:
    comparison = compare_arms(scores, size, one, other, people)
    if comparison is None:
        return "–"
    # p tells of other people, not of other trainings.
    once = "" if len(_common_seeds(scores, size, one, other)) > 1 else ", one training each"
    return f"{comparison.effect:+.3f} ({format_p(comparison.corrected)}{once})"


def compare_arms(scores: Scores, size: str, one: str, other: str, people: Sequence[int]) -> Comparison | None:
    """One arm against another over people and the seeds that both finished; None if there is none."""
    seeds = _common_seeds(scores, size, one, other)
    if not seeds:
        return None
    first, second = (np.stack([case_dice(scores[Run(arm, size, seed)]) for seed in seeds]) for arm in (one, other))
    return compare([Pair(one, other, first, second)], people)[0]


def _common_seeds(scores: Scores, size: str, one: str, other: str) -> list[int]:
    own = [run.seed for run in scores if (run.arm, run.size) == (one, size)]
    return [seed for seed in own if Run(other, size, seed) in scores]


def draw_curve(path: Path, task: Task, scores: Scores) -> None:
    """Dice and surface Dice over the number of labelled cases."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, both = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axes, title, measure in (
        (both[0], "mean foreground Dice", lambda own: own["summary"]["mean_dice"]),
        (both[1], "surface Dice at 1 mm", surface_dice),
    ):
        for arm in task.arms:
            points = [
                (place, [measure(own) for run, own in scores.items() if (run.arm, run.size) == (arm, size)])
                for place, size in enumerate(task.minutes)
            ]
            points = [(place, values) for place, values in points if values]
            places = [place for place, _ in points]
            axes.plot(places, [np.mean(v) for _, v in points], "o-", color=ARMS[arm].colour, label=ARMS[arm].title)
            axes.fill_between(
                places,
                [min(v) for _, v in points],
                [max(v) for _, v in points],
                color=ARMS[arm].colour,
                alpha=0.15,
                lw=0,
            )
        axes.set_xticks(range(len(task.minutes)), task.minutes)
        axes.set_xlabel("labelled cases")
        axes.set_title(title)
        axes.grid(alpha=0.3)
    if task.floor:
        both[0].axhspan(*task.floor, color="0.85", zorder=0, label="without looking at the image")
    both[0].legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _pretraining(path: Path) -> dict[str, Any]:
    provenance = json.loads(path.read_text(encoding="utf-8"))["provenance"]
    return {key: provenance.get(key) for key in ("method", "method_settings", "steps", "seconds", "validation_loss")}
