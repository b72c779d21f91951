"""The trainings that `label_efficiency.py` compares."""

from __future__ import annotations

from dataclasses import dataclass

SIZES = ("1", "3", "5", "10", "20", "all")
ARMS = ("mim", "scratch", "dynunet")
# CPU minutes of one thread for each training, the same for all arms.
MINUTES = {"1": 2.0, "3": 2.0, "5": 2.0, "10": 3.0, "20": 3.0, "all": 12.0}
# Several seeds (which cases, which weights, which crops) where chance matters most.
SEEDS = {"1": (0, 1, 2), "3": (0, 1, 2), "5": (0, 1, 2), "10": (0, 1, 2), "20": (0,), "all": (0,)}


@dataclass(frozen=True)
class Run:
    """One training of the benchmark: which network, how many labelled cases, which seed."""

    arm: str
    size: str
    seed: int

    @property
    def name(self) -> str:
        """Folder of the run."""
        return f"{self.arm}-{self.size}-seed{self.seed}"


def all_runs(arms: tuple[str, ...] = ARMS, sizes: tuple[str, ...] = SIZES) -> list[Run]:
    """All trainings, few labels first, so that a stopped benchmark has complete sizes."""
    return [Run(arm, size, seed) for size in sizes for seed in SEEDS[size] for arm in arms]
