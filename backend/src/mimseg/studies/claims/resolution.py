"""Claim (iv), first half: does masked image modelling help at other resolutions?"""

from __future__ import annotations

from mimseg.studies.claims.starts import comparisons_at, conclude_at
from mimseg.studies.design import SCRATCH, Design, Spacing, Variant
from mimseg.studies.findings import Findings
from mimseg.studies.plan import Plan
from mimseg.studies.results import Group, Results

QUESTION = "Does masked image modelling help at every working resolution?"


def variants(design: Design) -> tuple[Variant, ...]:
    """Scratch and MAE at every spacing."""
    return tuple(
        Variant(
            f"{start}, {millimetres(spacing)}",
            {"start": start, "spacing": millimetres(spacing)},
            None if start == SCRATCH else "mae",
            spacing=spacing,
            pretrain_spacing=None if start == SCRATCH else design.pretrain_spacing or spacing,
        )
        for spacing in design.spacings
        for start in (SCRATCH, "MAE")
    )


def millimetres(spacing: Spacing) -> str:
    """`1.5 mm`, or `1×1×2 mm`."""
    edges = spacing[:1] if len(set(spacing)) == 1 else spacing
    return "×".join(f"{edge:g}" for edge in edges) + " mm"


def comparisons_of(plan: Plan) -> list[Group]:
    """MAE against scratch at every spacing."""
    return comparisons_at(plan, "spacing")


def conclude(results: Results) -> Findings:
    """What `comparisons_of` asks."""
    once = results.plan.design.pretrain_spacing
    where = f"once, at {millimetres(once)}" if once else "at the spacing of its fine-tuning"
    return conclude_at(
        results,
        "spacing",
        "working spacing",
        lambda spacing: f"at {spacing}",
        (
            "Dice is computed on the original grid of each case for every spacing, so that rows are comparable.",
            f"MAE was pre-trained {where}. Windows cover the same millimetres at every spacing, up to whole patches, "
            "and every run has the same number of steps.",
        ),
    )
