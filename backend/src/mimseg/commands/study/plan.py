"""Plan a study: who pre-trains, trains and validates, the windows, the steps, and every run that follows."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mimseg.commands.finetune.mirroring import guard_sides
from mimseg.commands.finetune.settings import FinetuneSettings
from mimseg.commands.pretrain.settings import PretrainSettings
from mimseg.commands.study.given import refuse_known
from mimseg.commands.study.machine import choose_precision_once, describe_machine, device_type
from mimseg.commands.study.settings import StudySettings
from mimseg.data.cases import Case, load_dataset
from mimseg.data.cases.images import read_images
from mimseg.data.labels.scheme import choose_scheme
from mimseg.data.preprocessing import prepare
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.networks.methods import method_settings
from mimseg.stopping import check
from mimseg.studies.claims import load_claim
from mimseg.studies.design import Design, Spacing, Variant
from mimseg.studies.plan import FINETUNING, PRETRAINING, Facts, Plan, labelled_key, make_runs, window_key
from mimseg.studies.subsets import split, subject_numbers, subset
from mimseg.training.augmentation import AugmentationSettings
from mimseg.training.budget import Budget
from mimseg.training.planning import LARGEST_WINDOW, SPACING_SAMPLES, plan_preprocessing, plan_window
from mimseg.training.run_folder import comparable
from mimseg.training.start.initial_weights import InitialWeights


def plan_study(settings: StudySettings, reporter: Reporter, initial: InitialWeights | None = None) -> Plan:
    """Everything but the steps that only a probe can find: those are as asked for, or 0.

    Args:
        settings: All choices, as `read_given` completed them where there are given weights.
        reporter: Progress.
        initial: These weights.

    Raises:
        UserError: The data or the design are not usable, or the given weights know validation cases.
    """
    design = settings.design
    variants = load_claim(design.claim).variants(design)
    pool, validation = split(load_dataset(settings.data), settings.pool, settings.validation)
    if initial is not None:
        refuse_known(initial, validation)
    if design.flip_left_right:
        labels = choose_scheme(load_dataset(settings.data), settings.labels, settings.data).labels
        guard_sides(AugmentationSettings(flip_left_right=True), labels, reporter)
    lists = {"pool": pool, "validation": validation}
    for seed in design.seeds:
        for size in {design.labelled if row.labelled is None else row.labelled for row in variants}:
            lists[labelled_key(seed, size)] = subset(pool, size, seed)
    digests = {name: _digest(cases) for name, cases in lists.items()}
    digests["labels"] = hashlib.sha256(settings.labels.read_bytes()).hexdigest() if settings.labels else ""
    modality, spacing, windows = _geometry(settings, variants, pool, reporter)
    largest = replace(design.network, window=max(windows.values(), key=math.prod), channels=1, classes=2)
    facts = Facts(
        modality=modality,
        spacing=spacing,
        windows=windows,
        pretrain_steps=settings.pretrain_steps or 0,
        steps=settings.steps or 0,
        digests=digests,
        recipes=_recipes(design),
        precision=choose_precision_once(settings.device, design.precision, largest),
    )
    return Plan(
        design=design,
        variants=variants,
        runs=make_runs(design, variants, facts, complete),
        facts=facts,
        asked=asked(settings),
        budget={},
        cases=_nested({name: [case.identifier for case in cases] for name, cases in lists.items()}),
        subjects=tuple(subject_numbers(validation)),
        counts=_counts(pool, validation),
        command=settings.command,
        machine=describe_machine(settings.device),
    )


def with_steps(plan: Plan, pretrain_steps: int, steps: int, budget: dict[str, Any]) -> Plan:
    """The same study with another budget."""
    facts = replace(plan.facts, pretrain_steps=pretrain_steps, steps=steps)
    return replace(plan, facts=facts, budget=budget, runs=make_runs(plan.design, plan.variants, facts, complete))


def complete(method: str, values: dict[str, Any]) -> dict[str, Any]:
    """All settings of a pre-training method, defaults filled in."""
    return asdict(method_settings(method, values))


def asked(settings: StudySettings) -> dict[str, Any]:
    """What must be the same to go on with a study, as JSON returns it."""
    pool, validation = split(load_dataset(settings.data), settings.pool, settings.validation)
    labels = hashlib.sha256(settings.labels.read_bytes()).hexdigest() if settings.labels else ""
    content = {
        **settings.design.to_json(),
        **{name: getattr(settings, name) for name in ("minutes", "steps", "pretrain_steps")},
        "data": [_digest(pool), _digest(validation), labels],
    }
    return json.loads(json.dumps(content))


def check_asked(plan: Plan, settings: StudySettings) -> None:
    """Refuse to go on with a study that is asked for otherwise than it was planned.

    Raises:
        UserError: naming what differs.
    """
    now = asked(settings)
    differing = [name for name in now if comparable(name, plan.asked.get(name)) != comparable(name, now[name])]
    if differing:
        raise UserError(
            f"The study in {settings.report} was started with other settings: {', '.join(differing)}.",
            "Give the same options, or another report folder; with the same --runs, equal runs are found there.",
            code="settings-differ",
        )


def _geometry(
    settings: StudySettings, variants: Sequence[Variant], pool: Sequence[Case], reporter: Reporter
) -> tuple[str, Spacing, dict[str, tuple[int, int, int]]]:
    """Modality, spacing, and the window of every spacing and patch size.

    All windows are equal in mm as far as whole patches allow, and equal in voxels for all patch sizes.
    """
    design = settings.design
    patches = sorted({row.patch_size or design.network.patch_size for row in variants})
    volumes = []
    for number, case in enumerate(chosen := pool[:: max(1, len(pool) // SPACING_SAMPLES)]):
        check()
        reporter.progress("look at the data", number, len(chosen))
        volumes.append(read_images(case))
    reporter.progress("look at the data", len(chosen), len(chosen))
    modality, preprocessing = plan_preprocessing(volumes, design.modality, design.spacing)
    default = preprocessing.spacing or (1.0, 1.0, 1.0)
    own = [edge for row in variants for edge in (row.spacing, row.pretrain_spacing)]
    spacings: dict[Spacing | None, Spacing] = {spacing: spacing or default for spacing in own if spacing}
    if any(row.spacing is None for row in variants):
        spacings[None] = default
    finest = min(spacings.values(), key=math.prod)
    step = math.lcm(*patches)
    window = design.window
    if window is None:
        sizes = [prepare(volume, replace(preprocessing, spacing=finest)).array.shape[1:] for volume in volumes]
        window = plan_window(sizes, step, LARGEST_WINDOW[device_type(settings.device)])
    windows = {}
    for key, spacing in spacings.items():
        scaled = [edge * fine / coarse for edge, fine, coarse in zip(window, finest, spacing, strict=True)]
        x, y, z = (max(1, math.ceil(edge / step - 1e-6)) * step for edge in scaled)
        for patch in patches:
            size = window if spacing == finest else (x, y, z)
            replace(design.network, patch_size=patch, window=size)  # refuses what does not fit
            windows[window_key(key, patch)] = size
    return modality, default, windows


def _recipes(design: Design) -> dict[str, dict[str, Any]]:
    """Schedule and augmentation of both kinds of run."""
    nowhere, budget = Path(), Budget(1)
    defaults: dict[str, PretrainSettings | FinetuneSettings] = {
        PRETRAINING: PretrainSettings((nowhere,), nowhere, budget, design.network),
        FINETUNING: FinetuneSettings(nowhere, nowhere, budget, None, design.network),
    }
    rates = {PRETRAINING: design.pretrain_learning_rate, FINETUNING: design.learning_rate}
    recipes = {}
    for kind, settings in defaults.items():
        augmentation = replace(settings.augmentation, flip_left_right=design.flip_left_right).to_json()
        # No study has it; without the entry, runs of earlier studies are found.
        del augmentation["cut_off"]
        schedule = replace(settings.schedule, learning_rate=rates[kind])
        recipes[kind] = {"schedule": schedule.to_json(), "augmentation": augmentation}
    return recipes


def _digest(cases: Sequence[Case]) -> str:
    """Identifies an ordered list of cases by their names and the sizes of their files."""
    content = [
        [case.identifier, *(_size(path) for path in (*case.images, *([case.label] if case.label else [])))]
        for case in cases
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size


def _nested(lists: dict[str, list[str]]) -> dict[str, Any]:
    """`{"a.b": x}` as `{"a": {"b": x}}`, which `FILE.json:a.b` selects."""
    content: dict[str, Any] = {}
    for name, values in lists.items():
        *outer, last = name.split(".")
        place = content
        for key in outer:
            place = place.setdefault(key, {})
        place[last] = values
    return content


def _counts(pool: Sequence[Case], validation: Sequence[Case]) -> dict[str, int]:
    labelled = [case for case in pool if case.label is not None]
    groups = {"pool": pool, "labelled": labelled, "validation": validation}
    cases = {f"{name}_cases": len(group) for name, group in groups.items()}
    return {**cases, **{f"{name}_subjects": len(set(subject_numbers(group))) for name, group in groups.items()}}
