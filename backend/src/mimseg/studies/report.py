"""The report of a study: `report.html` for people, `results.csv` and `results.json` for programs, `figures/*.png`.

All of it is computed from files of finished runs; the plan adds what was asked for, never a result.
"""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from mimseg import __version__
from mimseg.files import write_bytes, write_text
from mimseg.reports.targets import refuse_foreign
from mimseg.studies.claims import load_claim
from mimseg.studies.findings import Figure, Findings
from mimseg.studies.given import QUESTION as GIVEN_QUESTION
from mimseg.studies.page import make_page
from mimseg.studies.plan import FINETUNING
from mimseg.studies.results import COST, Results

COLUMNS = (
    "run", "seed", "status", "dice", "steps", "seconds", "pretraining_loss", "pretraining_steps", "pretraining_seconds",
    *(f"pretraining_{name}" for name in COST), *(f"finetuning_{name}" for name in COST), "machine",
)  # fmt: skip


def write_report(folder: Path, results: Results) -> tuple[Path, str]:
    """Write the report.

    Args:
        folder: Gets the files; those of an earlier report are replaced.
        results: What was measured.

    Returns:
        Path of `report.html`, and the verdict.

    Raises:
        UserError: They cannot be written, see also `check_folder`.
    """
    check_folder(folder)
    claim = load_claim(results.plan.design.claim)
    findings: Findings = claim.conclude(results)
    question = f"{claim.QUESTION} {GIVEN_QUESTION}" if results.plan.design.given else claim.QUESTION
    figures = {figure.name: (figure.caption, _png(figure)) for figure in findings.figures}
    content = _plain(to_json(results, findings, question))
    page = make_page(results, findings, question, list(figures.values()))
    write_text(folder / "results.csv", _table(results))
    write_text(folder / "results.json", json.dumps(content, indent=1, ensure_ascii=False))
    write_text(folder / "report.html", page)
    for name, (_, image) in figures.items():
        write_bytes(folder / "figures" / f"{name}.png", image)
    return folder / "report.html", findings.verdict


def check_folder(folder: Path) -> None:
    """Refuse a folder with a file of a report's name that is none of ours. To be asked before the work.

    Raises:
        UserError: Naming the file.
    """
    refuse_foreign((folder / name for name in ("results.csv", "results.json", "report.html")), COLUMNS[:3])


def to_json(results: Results, findings: Findings, question: str) -> dict[str, Any]:
    """Everything in the report as plain data."""
    plan = results.plan
    return {
        "format": "mimseg-study-report",
        "format_version": 1,
        "mimseg_version": __version__,
        "claim": plan.design.claim,
        "question": question,
        "verdict": findings.verdict,
        "command": plan.command,
        "design": plan.design.to_json(),
        "modality": plan.facts.modality,
        "spacing_mm": plan.facts.spacing,
        "windows": plan.facts.windows,
        "precision": plan.facts.precision,
        "steps": {"pretraining": plan.facts.pretrain_steps, "finetuning": plan.facts.steps},
        "budget": plan.budget,
        "counts": plan.counts,
        "definitions": findings.definitions,
        "rows": [_row(results, variant.name) for variant in plan.variants],
        "comparisons": [
            {**vars(item), "over_cases": item.over_cases, "shown": item.shown} for item in findings.comparisons
        ],
        **findings.numbers,
        "missing": [
            {"kind": run.kind, "run": run.variant, "seed": run.seed, "reason": reason}
            for run, reason in results.missing
        ],
    }


def _row(results: Results, name: str) -> dict[str, Any]:
    variant = next(variant for variant in results.plan.variants if variant.name == name)
    found = results.estimate(variant)
    runs = []
    for seed in results.plan.design.seeds:
        run = results.finetuning(variant, seed)
        if run is not None:
            curve = {"steps": run.curve_steps, "validation_dice": run.curve}
            runs.append({"seed": seed, "seconds": run.seconds, "dice_by_case": run.dice.tolist(), **curve})
    pretraining = results.pretraining(variant)
    loss = None if pretraining is None else pretraining.best_loss
    estimate = None if found is None else {"mean": found.mean, "interval_95": found.interval, "seeds": found.seeds}
    return {"name": name, **variant.factors, "dice": estimate, "pretraining_loss": loss, "runs": runs}


def _table(results: Results) -> str:
    text = io.StringIO()
    plan = results.plan
    factors = list(dict.fromkeys(name for variant in plan.variants for name in variant.factors))
    writer = csv.DictWriter(text, [*factors, *COLUMNS], restval="", lineterminator="\n")
    writer.writeheader()
    reasons = {run.name: reason for run, reason in results.missing}
    for variant in plan.variants:
        for seed in plan.design.seeds:
            run, pretraining = results.finetuning(variant, seed), results.pretraining(variant, seed)
            planned = plan.find(variant.name, FINETUNING, seed)
            reason = "" if planned is None else reasons.get(planned.name) or reasons.get(planned.initial, "")
            line: dict[str, Any] = {
                **variant.factors,
                "run": variant.name,
                "seed": seed,
                "status": reason or "finished",
            }
            if run is not None:
                line |= {"dice": f"{np.nanmean(run.dice):.6f}", "steps": run.steps, "seconds": f"{run.seconds:.1f}"}
                line |= {"machine": run.machine, **{f"finetuning_{name}": f"{run.cost[name]:g}" for name in COST}}
            if pretraining is not None:
                line |= {f"pretraining_{name}": f"{pretraining.cost[name]:g}" for name in COST}
                line |= {
                    "pretraining_loss": f"{pretraining.best_loss:.6f}",
                    "pretraining_steps": pretraining.steps,
                    "pretraining_seconds": f"{pretraining.seconds:.1f}",
                }
            writer.writerow(line)
    return text.getvalue()


def _png(figure: Figure) -> bytes:
    image = io.BytesIO()
    figure.draw(image)
    return image.getvalue()


def _plain(value: Any) -> Any:
    """JSON has no NaN and no tuples."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
