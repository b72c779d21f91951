"""Plans of studies and synthetic logs of their runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from mimseg.networks.unetr_settings import UnetrSettings
from mimseg.studies.claims import load_claim
from mimseg.studies.design import Design
from mimseg.studies.given import GivenWeights
from mimseg.studies.plan import FINETUNING, PRETRAINING, Facts, Plan, Run, labelled_key, make_runs, window_key
from mimseg.studies.report import write_report
from mimseg.studies.results import SCORES, SCORES_FORMAT, read_results

SUBJECTS = (0, 0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9)
VALIDATIONS, STEPS = 10, 100
SECRET = "Jane Doe 1970"
GIVEN = GivenWeights("12ab" * 16, "encoder of Primus", licence="CC-BY-4.0", citation="Wald et al. OpenMind.")


def make_plan(claim: str, **changes: Any) -> Plan:
    """A plan whose lists of cases hold a name that no report may show."""
    design = Design(claim, validations=VALIDATIONS, network=UnetrSettings(layers=5), **changes)
    variants = load_claim(claim).variants(design)
    patches = {row.patch_size or 16 for row in variants}
    spacings = {spacing for row in variants for spacing in (None, row.spacing, row.pretrain_spacing)}
    sizes = {design.labelled if row.labelled is None else row.labelled for row in variants}
    keys = ["pool", "validation", "labels", *(labelled_key(seed, size) for seed in design.seeds for size in sizes)]
    facts = Facts(
        modality="MR",
        spacing=(1.0, 1.0, 1.0),
        windows={window_key(spacing, patch): (32, 32, 32) for spacing in spacings for patch in patches},
        pretrain_steps=200,
        steps=STEPS,
        digests={key: f"digest of {key}" for key in keys},
        recipes={PRETRAINING: {"schedule": {}}, FINETUNING: {"schedule": {}}},
        precision="32-true",
    )
    return Plan(
        design=design,
        variants=variants,
        runs=make_runs(design, variants, facts, lambda method, values: {"mask_ratio": 0.75, **values}),
        facts=facts,
        asked={},
        budget={"how": "given"},
        cases={"pool": [SECRET], "validation": [SECRET], "labelled": {}},
        subjects=SUBJECTS,
        counts=dict.fromkeys(
            (f"{group}_{kind}" for group in ("pool", "labelled", "validation") for kind in ("cases", "subjects")), 12
        ),
        command=f"mimseg study {claim} DATA -o REPORT",
        machine="a computer",
    )


def finish(run: Run, runs: Path, level: float, speed: float = 1.0, shift: float = 0.0) -> None:
    """Write the files that a finished run leaves: scores around `level`, a curve that rises `speed` times as fast."""
    folder = run.folder(runs)
    folder.mkdir(parents=True, exist_ok=True)
    pretraining = run.kind == PRETRAINING
    count = run.settings["steps"]
    steps = [count * (number + 1) // VALIDATIONS for number in range(VALIDATIONS)]
    curve = [level * (1 - np.exp(-0.05 * speed * step)) for step in steps]
    name = "validation_loss" if pretraining else "validation_dice"
    with open(folder / "log.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["step", "seconds", "name", "value"])
        writer.writerow([10, "", "loss", 0.5])
        for step, value in zip(steps, curve, strict=True):
            writer.writerow([step, 1.0, name, 1 - value if pretraining else value])
    generator = np.random.default_rng(run.seed)  # the same difficulty of a case for every row
    hard = generator.uniform(-0.05, 0.05, len(SUBJECTS))
    rows = [
        {"case": case + 1, "label": label, "dice": float(level + shift * case + hard[case]),
         "surface_dice_1mm": 0.9, "hd95_mm": 1.0, "volume_error_ml": -0.1}
        for case in range(len(SUBJECTS)) for label in ("anterior", "posterior")
    ]  # fmt: skip
    content = {
        "format": SCORES_FORMAT, "run": run.name, "steps": count, "seconds": 60.0, "machine": "a computer, 1 thread",
        "cost": {"tokens": 64, "encoder_parameters": 2_000_000, "decoder_parameters": 500_000,
                 "gflop_per_step": 10.0 + run.settings.get("method_settings", {}).get("decoder_layers", 0),
                 "memory_bytes": 10**8, "seconds_per_step": 0.5},
        **({} if pretraining else {"validation": rows}),
    }  # fmt: skip
    (folder / SCORES).write_text(json.dumps(content), encoding="utf-8")


def finish_all(plan: Plan, runs: Path) -> None:
    """MAE and SimMIM better and faster than the rest, given weights worse, the other factors without effect."""
    for run in plan.runs:
        masked = "MAE" in run.variant or "SimMIM" in run.variant
        plain = 0.77 if run.variant.startswith("given weights") else 0.80
        finish(run, runs, plain + 0.05 if masked else plain, 2.0 if masked else 1.0)


def report_of(plan: Plan, folder: Path) -> tuple[str, dict[str, Any], str]:
    """Verdict, `results.json`, and the page without its pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    path, verdict = write_report(folder, read_results(plan, folder / "runs"))
    page = path.read_text(encoding="utf-8")
    text = "".join(part.split('"', 1)[-1] for part in page.split("base64,"))
    return verdict, json.loads((folder / "results.json").read_text(encoding="utf-8")), text
