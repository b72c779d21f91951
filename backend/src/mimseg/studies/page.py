"""The report as one HTML file that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mimseg.reports.page import NOTICE, bullets, figure, page, section, small, table
from mimseg.studies.findings import Findings, Table, comparison_table, structure_table
from mimseg.studies.plan import FINETUNING, PRETRAINING, Plan
from mimseg.studies.results import Results

STATISTICS = (
    "Dice: mean over the structures of a case, on the case's own grid (2 |A ∩ B| / (|A| + |B|); a structure that is in "
    "neither counts in no mean), of the averaged weights that validated best. In a comparison, a case that shows no "
    "structure counts as 1 where none was found, if another run that is compared found one there.",
    "Means are over seeds, then over the cases of a subject, then over subjects. Intervals: 95 % percentile bootstrap "
    "over subjects. They do not contain the chance of another seed; the range over seeds stands beside them.",
    "Tests: sign-flip permutation of the paired differences of subjects, two-sided, corrected for the number of "
    "comparisons in this report (Holm). A difference is called shown if the corrected p is below 0.05 and every seed, "
    "of two or more, has the same sign, because p knows the chance of other people, not that of another seed. With "
    "one seed nothing is shown: the same training with another seed might differ as much.",
    "The same cases choose the best weights of every run and score them, so scores are somewhat too high, for all "
    "rows alike; the differences are what counts.",
)

_OTHER_DEFAULTS = (
    "`finetune` and `pretrain` have other defaults (Muon, larger rates): they may do better, and a difference between "
    "starts may be another one there."
)
_OPTIMISERS = {"adamw": "AdamW", "muon": "Muon, with AdamW for what is no matrix or kernel"}


def make_page(results: Results, findings: Findings, question: str, figures: Sequence[tuple[str, bytes]]) -> str:
    """The whole page.

    Args:
        results: What was measured.
        findings: What the claim concludes of it.
        question: The claim as a question.
        figures: Caption and PNG of each figure.
    """
    plan = results.plan
    tables = [*findings.tables, comparison_table(findings.comparisons), structure_table(results)]
    return page(
        f"mimseg study {plan.design.claim}",
        question,
        NOTICE,
        ("Verdict.", findings.verdict),
        [
            _how_many_missing(results),
            *(figure(image, caption) for caption, image in figures),
            *(_table(each) for each in tables if each.rows),
            _missing(results),
            section("How it was done", bullets(_method(results))),
            section("Definitions", bullets([*findings.definitions, *STATISTICS])),
            section("Command", f"<p><code>{escape(plan.command)}</code></p>"),
        ],
        "Words in capitals stand for files, folders and selections of cases, which a report does not name. Every "
        "number was computed from the files of finished runs.",
    )


def _method(results: Results) -> list[str]:
    plan, design, facts = results.plan, results.plan.design, results.plan.facts
    counts = plan.counts
    network = design.network
    seeds = ", ".join(map(str, design.seeds))
    shared = "once a seed" if design.pretrain_every_seed else f"once, with seed {design.seeds[0]}, for all seeds"
    windows = sorted({"×".join(map(str, window)) for window in facts.windows.values()})
    machines = sorted({run.machine for run in results.finished.values()})
    sentences = [
        f"{counts['pool_cases']} cases of {counts['pool_subjects']} subjects to learn from, "
        f"{counts['labelled_cases']} of them labelled; {counts['validation_cases']} cases of "
        f"{counts['validation_subjects']} other subjects to score. Where no subject is known, a case counts as one.",
        f"{facts.modality}, working spacing {_numbers(facts.spacing)} mm unless a row says otherwise; window "
        f"{' or '.join(windows)} voxels.",
        f"{network.in_words()}, unless a row says otherwise. The same network for every start.",
        f"Fine-tuning: {facts.steps} steps with {design.batch} crops, repeated with the seeds {seeds}; a seed decides "
        "the labelled cases, the crops, their order and the random weights, equally for every row.",
        _labelled(plan),
        f"Optimiser: {_optimisers(plan)}. Peak learning rate {design.learning_rate:g} (pre-training "
        f"{design.pretrain_learning_rate:g}), rate factor {design.layer_decay:g} per pre-trained block, "
        f"{design.validations} validations, {facts.precision}.",
        _OTHER_DEFAULTS,
        _budget(plan),
        f"Minutes were measured on {'; '.join(machines)}. Other work may have shared it: they are upper bounds."
        if machines
        else "",
    ]
    if any(run.kind == PRETRAINING for run in plan.runs):
        text = f"Pre-training: {facts.pretrain_steps} steps with {design.pretrain_batch} crops, {shared}"
        caution = (
            ", whose loss, cost and minutes are shown for the first one."
            if design.pretrain_every_seed
            else "; differences between pre-trainings by chance are not seen."
        )
        sentences.insert(4, text + caution)
    if design.given is not None:
        sentences += design.given.sentences()
    return [sentence for sentence in sentences if sentence]


def _optimisers(plan: Plan) -> str:
    """Of both kinds of run; an older plan does not name it: there was AdamW only."""
    schedules = (plan.facts.recipes.get(kind, {}).get("schedule", {}) for kind in (PRETRAINING, FINETUNING))
    return " and ".join(dict.fromkeys(_OPTIMISERS[own.get("optimizer", "adamw")] for own in schedules))


def _labelled(plan: Plan) -> str:
    if all(variant.labelled is not None for variant in plan.variants):
        return ""
    return f"{plan.design.labelled} labelled cases in each fine-tuning, one of each subject as far as there are enough."


def _budget(plan: Plan) -> str:
    if plan.budget.get("how") != "probe":
        return "The numbers of steps were given."
    return f"A probe on {plan.machine} turned {plan.budget['minutes']:g} minutes into the numbers of steps."


def _how_many_missing(results: Results) -> str:
    if not results.missing:
        return ""
    total = len(results.finished) + len(results.missing)
    return f'<p class="missing"><b>{len(results.missing)} of {total} runs are missing</b>; they are listed below.</p>'


def _missing(results: Results) -> str:
    if not results.missing:
        return ""
    words = {PRETRAINING: "pre-training", FINETUNING: "fine-tuning"}
    lines = [f"{words[run.kind]} of {run.variant}, seed {run.seed}: {reason}" for run, reason in results.missing]
    return section("Missing runs", bullets(lines))


def _table(content: Table) -> str:
    note = small(content.note) if content.note else ""
    return section(content.title, table(content.columns, content.rows), note)


def _numbers(values: Sequence[float]) -> str:
    return " × ".join(f"{value:g}" for value in values)
