"""The scores of a cross-validation as one HTML file that needs no other and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mimseg.commands.crossvalidate.pictures import LEGEND
from mimseg.commands.crossvalidate.scores import NAMES, case_dice
from mimseg.files import write_text
from mimseg.reports.page import SHOWS_CASES, bullets, figure, page, section, small, table

_COLUMNS = {
    "dice": "Dice",
    "surface_dice_1mm": "surface Dice (1 mm)",
    "hd95_mm": "HD95 mm",
    "volume_error_ml": "volume error mL",
}
_ARM_COLUMNS = ("", "mean over cases", "median", "standard deviation", "quartiles", "worst", "steps")
_LABEL_COLUMNS = {
    "dice": "Dice",
    "median_dice": "median",
    "worst_dice": "worst",
    "surface_dice_1mm": "surface Dice (1 mm)",
    "hd95_mm": "HD95 mm",
    "median_hd95_mm": "median",
    "volume_error_ml": "volume error mL",
    "absolute_volume_error_ml": "absolute",
    "cases_without_hd95": "cases without HD95",
}
_DEFINITIONS = (
    "Every case was segmented by a network that was trained without it and without any other case of its subject; none "
    "of them chose weights or settings. Where no subject is known, a case counts as one: scans of one person may then "
    "have trained a network that scored another. The model itself was trained on all cases and cannot be scored.",
    "Dice of a case: mean over the structures, on the case's own grid. Surface Dice: share of surface within 1 mm of "
    "the other. HD95: larger of the two directed 95th percentiles of surface distances; there is none where a "
    "structure is in one of the two only. Volume error: found minus true.",
    "The first mean is over subjects: of several cases of one person, the mean counts. Tables are over cases. "
    "Interval: 95 % percentile bootstrap of the mean over subjects. The chance of another training is not in it.",
    "Test: the signs of subjects' differences are flipped one by one, but subjects of one fold share its trainings, so "
    "p is somewhat too small where a fold holds several. Of drawn differences without any true one that varied by "
    "0.005 Dice between five folds and 0.012 between the four subjects of each, 10 % were called different, not 5 %.",
    "Steps: of the shortest and the longest training of the folds. With minutes they follow the clock: other work on "
    "the computer may have left one arm fewer steps than another.",
)


def write_fold_report(
    work: Path,
    rows: Mapping[str, Sequence[dict[str, Any]]],
    scores: dict[str, Any],
    names: Sequence[str],
    folds: Sequence[int],
) -> Path:
    """Write `report.html` into the folder of a cross-validation whose runs are all finished.

    Args:
        work: That folder; has the pictures `fold-<number>-start.png`.
        rows: Scores of every case and structure by arm.
        scores: What `cross_validation_scores` made of them.
        names: Of the cases.
        folds: Number of the fold of each case, from 0.

    Returns:
        The file.
    """
    worst = scores["summary"]["worst_case"]
    picture = work / f"fold-{folds[worst - 1] + 1}-start.png"
    text = make_page(rows, scores, names, picture.read_bytes() if picture.is_file() else None)
    write_text(work / "report.html", text)
    return work / "report.html"


def make_page(
    rows: Mapping[str, Sequence[dict[str, Any]]], scores: dict[str, Any], names: Sequence[str], picture: bytes | None
) -> str:
    """The whole page; arguments as of `write_fold_report`, `picture` a PNG of the worst case."""
    summary = scores["summary"]
    mean, median, worst = (_number(summary[f"{key}_dice"]) for key in ("mean", "median", "worst"))
    low, high = (_number(value) for value in summary["interval_95"])
    over = f"over {summary['subjects']} {summary['scored_by']} (95 % interval {low} to {high})"
    first = f"Mean Dice {mean} {over}, median {median}, worst case {worst}."
    structures = [[name, *(_number(values.get(key)) for key in _LABEL_COLUMNS)] for name, values in _labels(summary)]
    return page(
        "mimseg cross-validation",
        "Cross-validation of a segmentation model",
        SHOWS_CASES,
        (first, " ".join(scores[key] for key in ("start_knows", "verdict") if key in scores)),
        [
            small(f"{scores['method']}."),
            section("Dice over cases", table(_ARM_COLUMNS, _arms(rows, names, scores["steps"]))),
            section("Structures", table(["structure", *_LABEL_COLUMNS.values()], structures)),
            _picture(picture, names[summary["worst_case"] - 1], summary["worst_dice"]),
            section("Cases", table(["case", "structure", *_COLUMNS.values()], _cases(rows["start"], names))),
            section("Definitions", bullets(_DEFINITIONS)),
        ],
        "Every number was computed from the files of finished runs.",
    )


def _labels(summary: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return list(summary["per_label"].items())


def _arms(
    rows: Mapping[str, Sequence[dict[str, Any]]], names: Sequence[str], steps: Mapping[str, str]
) -> list[list[str]]:
    import numpy as np

    lines = []
    for arm, own in rows.items():
        every = case_dice(own, len(names))
        scored = np.flatnonzero(np.isfinite(every))
        dice = every[scored]
        lower, upper = np.percentile(dice, [25, 75])
        spread = float(dice.std(ddof=1)) if len(dice) > 1 else None
        quartiles = f"{_number(lower)} to {_number(upper)}"
        worst = f"{_number(dice.min())} ({names[scored[dice.argmin()]]})"
        middle = _number(float(np.median(dice)))
        done = steps.get(NAMES[arm], "-")
        lines.append([NAMES[arm], _number(dice.mean()), middle, _number(spread), quartiles, worst, done])
    return lines


def _cases(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> list[list[str]]:
    """The worst cases first."""
    dice = case_dice(rows, len(names))
    ordered = sorted(rows, key=lambda row: (*_rank(dice[row["case"] - 1]), row["case"]))
    return [[names[row["case"] - 1], row["label"], *(_number(row.get(key)) for key in _COLUMNS)] for row in ordered]


def _rank(dice: float) -> tuple[bool, float]:
    """Sorts the worst first, and what has no score last."""
    return dice != dice, dice


def _picture(picture: bytes | None, name: str, dice: float) -> str:
    if picture is None:
        return ""
    colours = ", ".join(
        f'<span style="color: #{bytes(label.color).hex()}">&#9632;</span> {label.name}' for label in LEGEND
    )
    caption = f"{name}, Dice {_number(dice)}. Axial, coronal and sagittal plane, the patient's right on the left: "
    return section("The worst case", figure(picture, caption, colours))


def _number(value: Any) -> str:
    if value is None or value != value:
        return "-"
    return str(value) if isinstance(value, int) else f"{float(value):.3f}"
