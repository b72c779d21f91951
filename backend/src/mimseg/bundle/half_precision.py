"""Whether a model may calculate in 16 bits unasked: only where that was measured to change no score."""

from __future__ import annotations

from typing import Any

# Of the mean Dice of any case that was measured.
MOST_CHANGE = 1e-3
FEWEST_CASES = 2


def bf16_changes_nothing(scores: dict[str, Any]) -> bool:
    """What `mimseg measure` found, by the scores in a model's description.

    Args:
        scores: `Description.scores`.
    """
    inference = scores.get("inference")
    measured = inference.get("bf16") if isinstance(inference, dict) else None
    if not isinstance(measured, dict):
        return False
    cases, change = measured.get("cases"), measured.get("largest_change")
    if not isinstance(cases, int) or not isinstance(change, (int, float)):
        return False
    return cases >= FEWEST_CASES and 0 <= change <= MOST_CHANGE
