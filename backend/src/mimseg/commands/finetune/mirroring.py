"""Mirrored crops and structures that have a side: a left kidney in a mirror lies where right ones do."""

from __future__ import annotations

from collections.abc import Sequence

from mimseg.data.labels.sides import first_with_a_side, side_pairs
from mimseg.data.labels.structures import Label
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.training.augmentation import AugmentationSettings


def guard_sides(
    augmentation: AugmentationSettings, labels: Sequence[Label], reporter: Reporter, going_on: bool = False
) -> None:
    """Refuse to mirror half of the crops of structures that have a side; tell of it where the preset does so.

    Args:
        augmentation: Of the crops.
        labels: The structures.
        reporter: Gets the warning.
        going_on: The training was begun before: it is told of, not refused.

    Raises:
        UserError: `flip_left_right` was asked for although a structure has a side.
    """
    if augmentation.flip_pairs:
        pairs = side_pairs(labels)
        paired = {*pairs, *pairs.values()}
        alone = first_with_a_side([label for label in labels if label.value not in paired])
        if alone is not None:
            reporter.warning(
                "mirrored-sides",
                f"The structure {alone.name!r} has a side, but none of the structures is its other side. Its name "
                "stays where crops are mirrored, as half of them are: the model learns to find it on both sides.",
            )
    sided = first_with_a_side(labels)
    if sided is None or not (augmentation.flip_left_right or augmentation.flips):
        return
    mixed = f"The structure {sided.name!r} has a side, but its name stays where crops are mirrored"
    if augmentation.flip_left_right and not going_on:
        raise UserError(
            f"{mixed}: the model could not learn to tell left from right.",
            "Use --flip-pairs, which swaps the names, in place of --flip-left-right; or mirror nothing.",
            "mirrored-sides",
        )
    share = 0.5 if augmentation.flip_left_right else augmentation.flips
    reporter.warning(
        "mirrored-sides",
        f"{mixed}, which happens to {share:.0%} of them: the model learns to mix up left and right."
        + (" The recipe of Chen et al. does the same." if augmentation.flips else ""),
    )
