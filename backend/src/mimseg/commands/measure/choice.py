"""What is chosen from the measured variants of a model, and what its card says of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mimseg.bundle.quick_mode import QuickMode, spacing_in_words
from mimseg.commands.measure.variants import LEAST_AGREEMENT, MeasuredVariant, Spacing
from mimseg.metrics.overlap import mean_of_defined

REFERENCE = 0.5
OVERLAPS = (REFERENCE, 0.375, 0.25, 0.125)
COARSER = (1.25, 1.5, 2.0)
# Least mean Dice, and least Dice of any case, of the labels of a smaller overlap with those of the reference. Borders
# may move a little where the truth tells that nothing is lost by it.
AGREEMENT_WITH_TRUTH = (0.985, LEAST_AGREEMENT)
AGREEMENT_ALONE = (0.995, 0.98)
# Of Dice against the truth.
MOST_OVERLAP_LOSS = 0.002
# Of a quick mode: loss of Dice, and share of the windows above which it is not worth any loss.
MOST_QUICK_LOSS = 0.02
MOST_QUICK_WINDOWS = 0.8
# A model that hardly finds its structures has nothing to lose, so nothing can be measured.
LEAST_DICE = 0.3


def coarser_spacings(spacing: Spacing) -> list[Spacing]:
    """The candidates of a quick mode; axes more than twice as coarse as the finest one stay as they are."""
    finest = min(spacing)
    found = []
    for factor in COARSER:
        x, y, z = (round(edge * factor, 4) if edge <= 2 * finest else edge for edge in spacing)
        found.append((x, y, z))
    return found


def choose_overlap(variants: Sequence[MeasuredVariant], usual: float) -> tuple[float, str]:
    """The smallest overlap that needs fewer windows and gives the same labels.

    Args:
        variants: That of the reference, then those of smaller overlaps in turn.
        usual: What the model has, kept if nothing can be learnt.

    Returns:
        The overlap, and in a sentence why.
    """
    reference, *others = variants
    if not any(variant.compared for variant in others):
        return usual, f"{usual:g}, kept: in no case does a smaller overlap change where windows with structures lie."
    chosen = reference
    for variant in others:
        if sum(variant.windows) < sum(chosen.windows) and _agrees(variant, reference):
            chosen = variant
    if chosen is reference:
        limits = _limits(reference)
        return REFERENCE, (
            f"{REFERENCE:g}: no smaller overlap agrees with it (mean Dice of the labels at least {limits[0]:g}, worst "
            f"case at least {limits[1]:g}) with fewer windows and without loss."
        )
    return chosen.overlap, (
        f"{chosen.overlap:g}: its labels agree with those of {REFERENCE:g} (Dice {_mean(chosen.compared):.4f} in the "
        f"mean, {min(chosen.compared):.4f} in the worst case), with {_share(chosen, reference):.2g} of the windows."
    )


def bf16_row(variant: MeasuredVariant, usual: MeasuredVariant) -> dict[str, float | int]:
    """What 16-bit arithmetic changes, for the card: of the mean Dice, and of any scan's Dice at most."""
    losses = variant.losses(usual)
    if not losses:
        return {"cases": 0}
    return {
        "cases": len(losses),
        "dice_loss": round(mean_of_defined(losses), 5),
        "largest_change": round(max(map(abs, losses)), 5),
    }


def choose_quick_mode(variants: Sequence[MeasuredVariant], usual: MeasuredVariant) -> tuple[QuickMode | None, str]:
    """The coarsest spacing that loses little and saves windows.

    Where scans are hardly larger than one window, coarser voxels spare nothing: then there is no quick mode, however
    little is lost.

    Args:
        variants: Those of the coarser spacings, in turn.
        usual: The model as it is, on the same scans.

    Returns:
        The quick mode or None, and in a sentence why.
    """
    if usual.mean_dice < LEAST_DICE:
        return None, f"None: with a mean Dice of {usual.mean_dice:.2f} the model has too little to lose."
    for variant in reversed(variants):
        loss, share = _mean(variant.losses(usual)), _share(variant, usual)
        if loss <= MOST_QUICK_LOSS and 0 < share <= MOST_QUICK_WINDOWS and variant.spacing is not None:
            quick = QuickMode(
                variant.spacing,
                variant.overlap,
                round(variant.mean_dice, 5),
                round(loss, 5),
                round(share, 5),
                len(variant.dice),
            )
            return quick, quick.in_words(usual.spacing)
    return None, (
        f"None: no coarser spacing loses at most {MOST_QUICK_LOSS:g} of mean Dice with at most "
        f"{MOST_QUICK_WINDOWS:g} of the windows."
    )


def row_of(variant: MeasuredVariant, usual: MeasuredVariant) -> dict[str, Any]:
    """One row of the model card's table; losses are those against `usual`."""
    losses, compared = variant.losses(usual) if variant is not usual else [], variant.compared
    return {
        "overlap": variant.overlap,
        "spacing": spacing_in_words(variant.spacing),
        "cases": len(variant.windows),
        "windows": sum(variant.windows),
        "mean_dice": _rounded(variant.dice),
        "mean_loss": _rounded(losses),
        "worst_loss": round(max(losses), 4) if losses else None,
        "mean_agreement": _rounded(compared),
        "worst_agreement": round(min(compared), 4) if compared else None,
    }


def _agrees(variant: MeasuredVariant, reference: MeasuredVariant) -> bool:
    # A variant that was given up has fewer scans.
    if not variant.compared or len(variant.windows) < len(reference.windows):
        return False
    # Scans whose windows lie at the same places would dilute what the others lose.
    scans = zip(reference.dice, variant.dice, variant.agreement, strict=True)
    lost = _mean([other - own for other, own, agreement in scans if not math.isnan(agreement)])
    least_mean, least = _limits(reference)
    agrees = _mean(variant.compared) >= least_mean and min(variant.compared) >= least
    return agrees and (math.isnan(lost) or lost <= MOST_OVERLAP_LOSS)


def _limits(reference: MeasuredVariant) -> tuple[float, float]:
    """Least mean agreement, and least agreement of any case."""
    return AGREEMENT_ALONE if math.isnan(reference.mean_dice) else AGREEMENT_WITH_TRUTH


def _mean(values: Sequence[float]) -> float:
    return mean_of_defined(list(values))


def _rounded(values: Sequence[float]) -> float | None:
    mean = _mean(values)
    return None if math.isnan(mean) else round(mean, 4)


def _share(variant: MeasuredVariant, usual: MeasuredVariant) -> float:
    return sum(variant.windows) / max(1, sum(usual.windows))
