"""How often the test of `finetune --folds --compare` calls two equal starts different.

    python Testing/benchmarks/fold_noise.py

Signs are flipped subject by subject, but all subjects of a fold share the chance of that fold's two trainings. The
differences are drawn: a part for each fold, and a part for each subject. No data and no training are needed.
"""

from __future__ import annotations

import numpy as np

FLIPS, REPEATS = 2000, 1500
# Standard deviations of the difference (Dice) by a fold's trainings and by subject; folds, subjects in each.
ROWS = ((0.005, 0.012, 5, 4), (0.008, 0.015, 5, 3), (0.008, 0.015, 5, 2), (0.008, 0.015, 10, 1))


def called_different(fold: float, subject: float, folds: int, each: int, generator: np.random.Generator) -> float:
    """Share of comparisons without any true difference whose p is below 0.05."""
    count = 0
    for _ in range(REPEATS):
        differences = generator.normal(0, fold, (folds, 1)) + generator.normal(0, subject, (folds, each))
        values = differences.ravel()
        signs = generator.choice((-1.0, 1.0), (FLIPS, values.size))
        count += (abs(signs @ values) >= abs(values.sum()) - 1e-12).mean() < 0.05
    return count / REPEATS


if __name__ == "__main__":
    drawn = np.random.default_rng(0)
    for row in ROWS:
        print("| " + " | ".join(map(str, row)) + f" | {100 * called_different(*row, drawn):.1f} % |")
