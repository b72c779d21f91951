"""The runs of a study, and the file `plan.json` that keeps them: a resumed study does what the first one planned."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mimseg.errors import UserError
from mimseg.files import write_text
from mimseg.studies.design import GIVEN, SCRATCH, Complete, Design, Spacing, Variant

FORMAT = "mimseg-study"
PRETRAINING, FINETUNING = "pretraining", "finetuning"
# Changed whenever the same settings would train differently than before, so that old runs are not taken for new ones.
RUN_VERSION = 1


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        kind: `pretraining` or `finetuning`.
        variant: Name of the row that it was planned for.
        seed: Decides everything random in it.
        settings: All that decides its result, as plain data; equal settings are one run.
        cases: Keys in the plan that lead to the names of its training cases.
        initial: Name of the pre-training that it starts from, or empty.
    """

    kind: str
    variant: str
    seed: int
    settings: dict[str, Any]
    cases: str
    initial: str = ""

    @property
    def name(self) -> str:
        """Name of its folder: what it is, and a digest of its settings."""
        text = json.dumps(self.settings, sort_keys=True)
        plain = GIVEN if GIVEN in self.settings else SCRATCH
        start = self.settings.get("method") or ("pretrained" if self.initial else plain)
        return f"{self.kind}-{start}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def folder(self, runs: Path) -> Path:
        """Where its files lie; fine-tuning works in `<output>.training`, see `mimseg.commands.finetune.run`."""
        return runs / (self.name if self.kind == PRETRAINING else f"{self.name}.training")


@dataclass(frozen=True)
class Facts:
    """What the data and the budget add to the design.

    Attributes:
        modality: `CT` or `MR`.
        spacing: mm along R, A, S.
        windows: Voxels of a crop by `window_key`.
        pretrain_steps: Steps of each pre-training.
        steps: Steps of each fine-tuning.
        digests: Digest of each list of cases, by its keys in the plan; of the label file as `labels`.
        recipes: Schedule and augmentation by kind of run, as plain data.
        precision: Arithmetic of all runs, a Fabric precision.
    """

    modality: str
    spacing: Spacing
    windows: dict[str, tuple[int, int, int]]
    pretrain_steps: int
    steps: int
    digests: dict[str, str]
    recipes: dict[str, dict[str, Any]]
    precision: str


@dataclass(frozen=True)
class Plan:
    """A study, ready to be carried out and reported.

    Attributes:
        design: The choices.
        variants: Rows.
        runs: Every training, pre-trainings before what starts from them.
        facts: What the data and the budget add.
        asked: All that the user asked for; a resumed study must be asked for the same.
        budget: How the steps were found, for the report.
        cases: Names: `pool`, `validation`, `labelled.seed<s>.<n>`. Never shown in a report.
        subjects: Number of the subject of each validation case.
        counts: Cases and subjects of the pool, of its labelled part and of validation.
        command: The command without names and paths.
        machine: The computer that planned it, in words.
    """

    design: Design
    variants: tuple[Variant, ...]
    runs: tuple[Run, ...]
    facts: Facts
    asked: dict[str, Any]
    budget: dict[str, Any]
    cases: dict[str, Any]
    subjects: tuple[int, ...]
    counts: dict[str, int]
    command: str
    machine: str

    def find(self, variant: str, kind: str, seed: int) -> Run | None:
        """The run of a variant; a pre-training may serve several variants and seeds."""
        fine = next((r for r in self.runs if r.kind == FINETUNING and (r.variant, r.seed) == (variant, seed)), None)
        if kind == FINETUNING or fine is None:
            return fine
        return next((run for run in self.runs if run.name == fine.initial), None)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        content = {
            key: value for key, value in vars(self).items() if key not in ("design", "variants", "runs", "facts")
        }
        return {
            "format": FORMAT,
            "format_version": 1,
            "design": self.design.to_json(),
            "variants": [asdict(variant) for variant in self.variants],
            "facts": asdict(self.facts),
            "runs": [{"name": run.name, **asdict(run)} for run in self.runs],
            **content,
        }


def labelled_key(seed: int, size: int) -> str:
    """Where the plan keeps the first `size` labelled cases (0: all) of a seed's order."""
    return f"labelled.seed{seed}.{size or 'all'}"


def window_key(spacing: Spacing | None, patch_size: int) -> str:
    """Name of the window for a spacing (None: the study's) and patch size."""
    return f"{'default' if spacing is None else 'x'.join(f'{edge:g}' for edge in spacing)} patch {patch_size}"


def make_runs(design: Design, variants: Iterable[Variant], facts: Facts, complete: Complete) -> tuple[Run, ...]:
    """Every training of the variants, seed after seed; equal ones are made once.

    Args:
        design: The choices.
        variants: Rows.
        facts: What the data and the budget add.
        complete: All settings of a method, of its name and those that differ from its defaults.
    """
    variants = tuple(variants)
    runs: dict[str, Run] = {}
    for seed in design.seeds:
        for variant in variants:
            initial = ""
            if variant.method is not None:
                run = _pretraining(design, variant, design.pretraining_seed(seed), facts, complete)
                initial = runs.setdefault(run.name, run).name
            run = _finetuning(design, variant, seed, facts, initial)
            # A row that equals another one keeps an entry of its own, with the same folder.
            runs[f"{run.name} {variant.name}"] = run
    return tuple(runs.values())


def _shared(
    design: Design, variant: Variant, facts: Facts, seed: int, spacing: Spacing | None, initial: str = ""
) -> dict[str, Any]:
    patch = variant.patch_size or design.network.patch_size
    network = {**design.network.to_json(), "patch_size": patch}
    window = facts.windows[window_key(spacing, patch)]
    # Without given weights the settings have no such entries, so that runs of earlier studies are found.
    given: dict[str, Any] = {}
    if design.given is not None and design.given.preprocessing is not None:
        given["preprocessing"] = design.given.preprocessing
    if design.given is not None and variant.given and not initial:
        given[GIVEN] = design.given.sha256
    return {
        **given,
        "version": RUN_VERSION,
        "network": {key: value for key, value in network.items() if key not in ("window", "channels", "classes")},
        "window": list(window),
        "spacing": [float(edge) for edge in spacing or facts.spacing],
        "modality": facts.modality,
        "precision": facts.precision,
        "seed": seed,
    }


def _pretraining(design: Design, variant: Variant, seed: int, facts: Facts, complete: Complete) -> Run:
    method = str(variant.method)
    settings = {
        "kind": PRETRAINING,
        **facts.recipes[PRETRAINING],
        **_shared(design, variant, facts, seed, variant.pretrain_spacing or variant.spacing),
        "method": method,
        "method_settings": complete(method, variant.method_settings),
        "batch": design.pretrain_batch,
        "steps": facts.pretrain_steps,
        "data": facts.digests["pool"],
    }
    return Run(PRETRAINING, variant.name, seed, settings, "pool")


def _finetuning(design: Design, variant: Variant, seed: int, facts: Facts, initial: str) -> Run:
    cases = labelled_key(seed, design.labelled if variant.labelled is None else variant.labelled)
    settings = {
        "kind": FINETUNING,
        **facts.recipes[FINETUNING],
        **_shared(design, variant, facts, seed, variant.spacing, initial),
        "initial": initial,
        "batch": design.batch,
        "steps": facts.steps,
        "layer_decay": design.layer_decay,
        "validations": design.validations,
        "overlap": design.overlap,
        "data": [facts.digests[cases], facts.digests["validation"], facts.digests["labels"]],
    }
    return Run(FINETUNING, variant.name, seed, settings, cases, initial)


def write_plan(path: Path, plan: Plan) -> None:
    """Write `plan.json`, complete or not at all."""
    write_text(path, json.dumps(plan.to_json(), indent=1, ensure_ascii=False))


def read_plan(path: Path) -> Plan:
    """Read `plan.json`.

    Raises:
        UserError: It is missing, damaged, or its runs are not those of their settings.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT or content["format_version"] != 1:
            raise ValueError("made by another version of mimseg")
        runs = [(entry.pop("name"), Run(**entry)) for entry in content["runs"]]
        if any(run.name != name for name, run in runs):
            raise ValueError("a run was changed")
        facts = content["facts"]
        windows = {key: tuple(window) for key, window in facts["windows"].items()}
        return Plan(
            design=Design.from_json(content["design"]),
            variants=tuple(_variant(entry) for entry in content["variants"]),
            runs=tuple(run for _, run in runs),
            facts=Facts(**{**facts, "windows": windows, "spacing": tuple(facts["spacing"])}),
            subjects=tuple(content["subjects"]),
            **{key: content[key] for key in ("asked", "budget", "cases", "counts", "command", "machine")},
        )
    except OSError as fault:
        raise UserError(
            f"There is no study in {path.parent} ({fault.strerror}).", "Start one without --report-only.", "not-found"
        ) from fault
    except (KeyError, TypeError, ValueError) as fault:
        raise UserError(
            f"The plan {path} is not usable ({type(fault).__name__}: {fault}).",
            "Choose another report folder, or delete this one and start the study again; finished runs are found.",
            code="bad-study",
        ) from fault


def _variant(entry: dict[str, Any]) -> Variant:
    spacings = {key: tuple(entry[key]) if entry[key] else None for key in ("spacing", "pretrain_spacing")}
    return Variant(**{**entry, **spacings})
