"""The report as one HTML file that needs no other file and no network."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

from mimseg import __version__
from mimseg.studies.findings import Findings, Table, comparison_table, structure_table
from mimseg.studies.plan import FINETUNING, PRETRAINING, Plan
from mimseg.studies.results import Results

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2937; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin-bottom: .3rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.verdict { background: #eff6ff; border-left: 4px solid #2563eb; padding: .7rem 1rem; font-size: 1.05rem; }
.notice { color: #92400e; font-size: .9rem; } .missing { background: #fef2f2; padding: .5rem 1rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #e5e7eb; text-align: left; vertical-align: top; }
td:not(:first-child) { white-space: nowrap; } th { background: #f9fafb; font-weight: 600; }
figure { margin: 1rem 0; } img { max-width: 100%; } figcaption, .note { color: #6b7280; font-size: .86rem; }
code { background: #f3f4f6; padding: .1rem .3rem; overflow-wrap: anywhere; }
"""
NOTICE = "For research use only. Not a medical device; not for diagnosis or treatment."
STATISTICS = (
    "Dice: mean over the structures of a case, on the case's own grid (2 |A ∩ B| / (|A| + |B|); a structure that is in "
    "neither counts in no mean), of the averaged weights that validated best.",
    "Means are over seeds, then over the cases of a subject, then over subjects. Intervals: 95 % percentile bootstrap "
    "over subjects. They do not contain the chance of another seed; the range over seeds stands beside them.",
    "Tests: sign-flip permutation of the paired differences of subjects, two-sided, corrected for the number of "
    "comparisons in this report (Holm). A difference is called shown if the corrected p is below 0.05 and every seed "
    "has the same sign, because p knows the chance of other people, not that of another seed.",
    "The same cases choose the best weights of every run and score them, so scores are somewhat too high, for all "
    "rows alike; the differences are what counts.",
)


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
    parts = [
        f"<h1>{escape(question)}</h1>",
        f'<p class="notice">{NOTICE}</p>',
        f'<p class="verdict"><b>Verdict.</b> {escape(findings.verdict)}</p>',
        _how_many_missing(results),
        *(_figure(caption, image) for caption, image in figures),
        *(_table(table) for table in tables if table.rows),
        _missing(results),
        _list("How it was done", _method(results)),
        _list("Definitions", [*findings.definitions, *STATISTICS]),
        f"<h2>Command</h2><p><code>{escape(plan.command)}</code></p>",
        '<p class="note">Words in capitals stand for files, folders and selections of cases, which a report does not '
        f"name. Every number was computed from the files of finished runs, by mimseg {__version__}.</p>",
    ]
    title = f"mimseg study {plan.design.claim}"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n<body>\n'
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
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
        f"UNETR with {network.layers} blocks of width {network.hidden_size}, {network.heads} heads, patch "
        f"{network.patch_size}, stem “{network.stem}”, unless a row says otherwise. The same network for every start.",
        f"Fine-tuning: {facts.steps} steps with {design.batch} crops, repeated with the seeds {seeds}; a seed decides "
        "the labelled cases, the crops, their order and the random weights, equally for every row.",
        _labelled(plan),
        f"Peak learning rate {design.learning_rate:g} (pre-training {design.pretrain_learning_rate:g}), rate factor "
        f"{design.layer_decay:g} per pre-trained block, {design.validations} validations, {facts.precision}.",
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
    return [sentence for sentence in sentences if sentence]


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
    return _list(
        "Missing runs",
        [f"{words[run.kind]} of {run.variant}, seed {run.seed}: {reason}" for run, reason in results.missing],
    )


def _figure(caption: str, image: bytes) -> str:
    data = base64.b64encode(image).decode("ascii")
    text = escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    rows = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<h2>{escape(table.title)}</h2><div class="wide">{rows}</div>{note}'


def _list(title: str, sentences: Iterable[str]) -> str:
    return f"<h2>{escape(title)}</h2><ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>"


def _numbers(values: Sequence[float]) -> str:
    return " × ".join(f"{value:g}" for value in values)
