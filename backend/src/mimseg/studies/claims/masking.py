"""Claim (ii): which share of the volume should be hidden, and in patches of which size?"""

from __future__ import annotations

import math
from functools import partial

from mimseg.studies.design import Design, Variant
from mimseg.studies.figures import draw_grids
from mimseg.studies.findings import (
    MISSING,
    Figure,
    Findings,
    Table,
    dice_cells,
    make_verdict,
    mean_minutes,
    minutes,
    say,
)
from mimseg.studies.plan import Plan
from mimseg.studies.results import Group, Results

QUESTION = "Which mask ratio and which patch size serve segmentation best?"


def variants(design: Design) -> tuple[Variant, ...]:
    """MAE for every ratio and patch size; on request scratch for every patch size."""
    rows = [
        Variant(
            f"MAE, {ratio:.0%} hidden, patch {patch}",
            {"mask ratio": ratio, "patch size": patch},
            "mae",
            {"mask_ratio": ratio},
            patch_size=patch,
        )
        for patch in design.patch_sizes
        for ratio in design.mask_ratios
    ]
    if design.with_scratch:
        rows += [
            Variant(f"scratch, patch {patch}", {"mask ratio": None, "patch size": patch}, patch_size=patch)
            for patch in design.patch_sizes
        ]
    return tuple(rows)


def comparisons_of(plan: Plan) -> list[Group]:
    """Every ratio against the lowest over all patch sizes, every patch size against the largest over all ratios."""
    masked = [row for row in plan.variants if row.method is not None]
    ratios, patches = sorted(plan.design.mask_ratios), sorted(plan.design.patch_sizes)

    def select(name: str, value: float) -> list[Variant]:
        return [row for row in masked if row.factors[name] == value]

    low, large = ratios[0], patches[-1]
    groups: list[Group] = [
        (f"{ratio:.0%} hidden", select("mask ratio", ratio), f"{low:.0%} hidden", select("mask ratio", low))
        for ratio in ratios[1:]
    ]
    return groups + [
        (f"patch {patch}", select("patch size", patch), f"patch {large}", select("patch size", large))
        for patch in patches[:-1]
    ]


def conclude(results: Results) -> Findings:
    """What `comparisons_of` asks, and the losses."""
    design = results.plan.design
    masked = [row for row in results.plan.variants if row.method is not None]
    ratios, patches = sorted(design.mask_ratios), sorted(design.patch_sizes)
    comparisons, impossible = results.compare(comparisons_of(results.plan))
    return Findings(
        verdict=make_verdict(results, say(comparisons), impossible),
        tables=(_table(results),),
        figures=_figures(results, masked, ratios, patches),
        comparisons=tuple(comparisons),
        definitions=(
            "Comparisons were fixed beforehand: each mask ratio against the lowest, over all patch sizes together; "
            "each patch size against the largest, over all ratios together.",
            "Reconstruction loss: mean absolute difference of hidden voxels, intensities as the network sees them, on "
            "crops and masks that are fixed by the seed, of the tenth of the pool that is held out from pre-training; "
            "with fewer than ten volumes none is, and the loss is of volumes that it learned from. Hiding less makes "
            "the task easier, so losses are not comparable between ratios, nor strictly between patch sizes.",
            "A smaller patch changes the segmentation network as well, not only its pre-training.",
        ),
    )


def _table(results: Results) -> Table:
    rows = []
    for row in results.plan.variants:
        pretraining = results.pretraining(row)
        tokens = "" if pretraining is None else f"{pretraining.cost['tokens']:.0f}"
        hidden = row.factors["mask ratio"]
        rows.append(
            (
                MISSING if hidden is None else f"{hidden:.0%}",
                str(row.factors["patch size"]),
                tokens or MISSING,
                MISSING if pretraining is None else f"{pretraining.best_loss:.4f}",
                *dice_cells(results, row),
                minutes(pretraining),
                mean_minutes(results.finetunings(row)),
            )
        )
    columns = (
        "hidden", "patch", "patches of a window", "reconstruction loss", "Dice [95 % interval]", "range over seeds",
        "minutes of pre-training", "minutes of fine-tuning",
    )  # fmt: skip
    return Table("Mask ratio and patch size", columns, tuple(rows))


def _figures(results: Results, masked: list[Variant], ratios: list[float], patches: list[int]) -> tuple[Figure, ...]:
    losses, dice = {}, {}
    for row in masked:
        place = row.factors["patch size"], row.factors["mask ratio"]
        pretraining, found = results.pretraining(row), results.estimate(row)
        if pretraining is not None:
            losses[place] = pretraining.best_loss
        if found is not None:
            dice[place] = found.mean
    if not losses and not dice:
        return ()

    def grid(values: dict[tuple[int, float], float]) -> list[list[float]]:
        return [[values.get((patch, ratio), math.nan) for ratio in ratios] for patch in patches]

    draw = partial(
        draw_grids,
        rows=[f"patch {patch}" for patch in patches],
        columns=[f"{ratio:.0%} hidden" for ratio in ratios],
        panels={"reconstruction loss (lower is better)": grid(losses), "Dice after fine-tuning": grid(dice)},
    )
    return (Figure("grid", "Reconstruction loss of pre-training and mean Dice after fine-tuning.", draw),)
