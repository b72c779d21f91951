"""Write an evaluation as a table (CSV) and as JSON, and show it as text."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mimseg import __version__
from mimseg.bundle.checked_folder import refuse_inside_model
from mimseg.files import write_text
from mimseg.metrics.summary import CaseScores, Evaluation, Summary
from mimseg.reports.targets import report_pair

COLUMNS = (
    "dice",
    "hd95_mm",
    "surface_dice",
    "predicted_ml",
    "reference_ml",
    "volume_error_ml",
    "volume_error_percent",
)
DEFINITIONS = {
    "dice": "2|A∩B| / (|A|+|B|); 0 if the class is in one file only, undefined if in neither",
    "dice_with_background": "mean over the classes and the background",
    "hd95_mm": "larger of the two directed 95th percentiles of the distances between surface voxels; "
    "infinite if the class is in one file only",
    "surface_dice": "share of surface voxels within tolerance_mm of the other surface",
    "volume_error_ml": "predicted minus reference volume",
    "overall": "per case the mean over its classes, then over cases",
    "interval": "95 % percentile bootstrap of the mean, 10000 resamples of the cases, which are taken as independent",
}


def write_report(output: Path, evaluation: Evaluation) -> tuple[Path, Path]:
    """Write `<output>.csv` (one row a case and class) and `<output>.json`.

    Returns:
        The two paths, see `report_paths`.
    """
    contents = {".csv": _table(evaluation), ".json": json.dumps(to_json(evaluation), indent=1, ensure_ascii=False)}
    paths = report_paths(output)
    for path in paths:
        write_text(path, contents[path.suffix])
    return paths


def report_paths(output: Path) -> tuple[Path, Path]:
    """The files of the report, CSV and JSON.

    An extension `.csv` or `.json` of `output` is dropped; in an existing folder the files are called `evaluation`.

    Raises:
        UserError: One of them is there and no report: the label file, say. To be asked before the work.
    """
    paths = report_pair(output, "evaluation", ".csv", ("case", "class", "dice"))
    refuse_inside_model(paths[0])
    return paths


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """The whole report as plain data; numbers that are not finite are null, infinite ones are counted."""
    content = {
        "format": "mimseg-evaluation",
        "format_version": 1,
        "mimseg_version": __version__,
        "tolerance_mm": evaluation.tolerance_mm,
        "definitions": DEFINITIONS,
        "overall": {metric: asdict(summary) for metric, summary in evaluation.overall.items()},
        "classes": {
            name: {metric: asdict(summary) for metric, summary in metrics.items()}
            for name, metrics in evaluation.classes.items()
        },
        "left_out": list(evaluation.left_out),
        "cases": [_case(case, list(evaluation.classes)) for case in evaluation.cases],
    }
    return _without_nan(content)


def format_table(evaluation: Evaluation) -> str:
    """The summary as text, one line a class and one for all."""
    names = [*evaluation.classes, "mean of classes"]
    width = max(len(name) for name in names)
    surface = f"surface Dice ({evaluation.tolerance_mm:g} mm)"
    lines = [f"{'':{width}}  cases  Dice mean [95 % interval]  median  HD95 mm  {surface}  volume error %"]
    for name in names:
        scores = evaluation.classes.get(name, evaluation.overall)
        dice = scores["dice"]
        lines.append(
            f"{name:{width}}  {dice.cases:5d}  {_interval(dice):25s}  {_number(dice.median):>6s}"
            f"  {_number(scores['hd95_mm'].mean, 2):>7s}  {_number(scores['surface_dice'].mean):>{len(surface)}s}"
            f"  {_number(scores['volume_error_percent'].mean, 1, '+'):>14s}"
        )
    lines.append(f"Mean Dice with background: {_interval(evaluation.overall['dice_with_background'])}")
    for name in names:
        missed = evaluation.classes.get(name, {}).get("hd95_mm")
        if missed is not None and missed.infinite:
            lines.append(f"{name}: in one file only in {missed.infinite} case(s); no HD95 there, Dice counts as 0.")
    return "\n".join(lines)


def _table(evaluation: Evaluation) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "class", *COLUMNS])
    for case in evaluation.cases:
        for name in evaluation.classes:
            values = [case.score(name, column) for column in COLUMNS]
            writer.writerow([case.name, name, *("" if math.isnan(value) else f"{value:.6g}" for value in values)])
        background = case.background_dice
        writer.writerow([case.name, "background", "" if math.isnan(background) else f"{background:.6g}"])
    return text.getvalue()


def _case(case: CaseScores, names: list[str]) -> dict[str, Any]:
    return {
        "case": case.name,
        "mean_dice": case.mean("dice"),
        "mean_dice_with_background": case.dice_with_background,
        "classes": {name: asdict(case.classes[name]) if name in case.classes else None for name in names},
    }


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _interval(summary: Summary) -> str:
    low, high = summary.interval
    return f"{_number(summary.mean)} [{_number(low)}, {_number(high)}]"


def _number(value: float, digits: int = 3, sign: str = "") -> str:
    return f"{value:{sign}.{digits}f}" if math.isfinite(value) else "-"
