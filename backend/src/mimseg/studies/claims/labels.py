"""Claim (iv), second half: how many labelled cases does masked image modelling save?"""

from __future__ import annotations

from mimseg.studies.claims.starts import comparisons_at, conclude_at
from mimseg.studies.design import GIVEN, SCRATCH, Design, Variant, title_of
from mimseg.studies.findings import Findings
from mimseg.studies.plan import Plan
from mimseg.studies.results import Group, Results

QUESTION = "Does masked image modelling on all images help when few of them are labelled?"


def variants(design: Design) -> tuple[Variant, ...]:
    """Scratch and MAE for every number of labelled cases; given weights, too, and these continued by MAE."""
    starts = (SCRATCH, "mae", *((GIVEN, f"{GIVEN}+mae") if design.given else ()))
    return tuple(
        Variant.of_start(
            start, f"{title_of(start)}, {size or 'all'} labelled", {"labelled": size or "all"}, labelled=size
        )
        for size in design.sizes
        for start in starts
    )


def comparisons_of(plan: Plan) -> list[Group]:
    """Every start against the simpler ones for every number of labelled cases."""
    return comparisons_at(plan, "labelled")


def conclude(results: Results) -> Findings:
    """What `comparisons_of` asks."""
    return conclude_at(
        results,
        "labelled",
        "labelled cases",
        lambda size: f"with {size} labelled case{'' if size == 1 else 's'}",
        (
            "Labelled subsets are nested and drawn by seed, one case of each subject before a second of any; all "
            "starts use the same ones. Pre-training learns from the images of the pool, never from a label; of ten or "
            "more, a tenth is held out to watch its loss.",
            "Every run has the same number of steps, however many cases it has (equal steps, not equal epochs).",
        ),
    )
