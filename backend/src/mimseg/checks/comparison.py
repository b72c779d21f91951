"""Comparing each case with the others, so that one odd case cannot make itself look normal.

Median and median absolute deviation (Rousseeuw & Croux, JASA 88, 1993): up to half of the cases may be odd.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# Makes the median absolute deviation of normally distributed numbers their standard deviation.
_TO_STANDARD_DEVIATION = 1.4826
FEWEST_OTHERS = 2
# Where so many of the other cases agree, the one that does not is odd.
USUAL_SHARE = 0.8


@dataclass(frozen=True)
class Unusual:
    """A number that lies far from those of the other cases.

    Attributes:
        value: Of this case.
        usual: Median of the other cases.
        distance: |value - usual| in units of the others' spread.
    """

    value: float
    usual: float
    distance: float


def unusual_cases(values: Mapping[str, float], least_spread: float, times: float) -> dict[str, Unusual]:
    """Cases whose number lies more than `times` spreads from the median of the others.

    Args:
        values: Number by case.
        least_spread: Smaller spreads count as this: what would not matter is never reported.
        times: How many spreads are too many.

    Returns:
        By case; empty with fewer than three cases, where nobody knows which one is odd.
    """
    names, numbers = list(values), np.array(list(values.values()), float)
    if len(names) <= FEWEST_OTHERS:
        return {}
    found = {}
    for position, name in enumerate(names):
        others = np.delete(numbers, position)
        usual = float(np.median(others))
        spread = _TO_STANDARD_DEVIATION * float(np.median(np.abs(others - usual)))
        # Few others look more alike than they are.
        spread = max(least_spread, spread * (1 + 3 / len(others)))
        distance = abs(float(numbers[position]) - usual) / spread
        if distance > times:
            found[name] = Unusual(float(numbers[position]), usual, distance)
    return found


def share_of_others(holds: Mapping[str, bool]) -> dict[str, float]:
    """For each case the share of the other cases for which something holds; empty with fewer than three cases."""
    if len(holds) <= FEWEST_OTHERS:
        return {}
    total = sum(holds.values())
    return {name: (total - held) / (len(holds) - 1) for name, held in holds.items()}
