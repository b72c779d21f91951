"""The trainings that `label_efficiency.py` compares: tasks (data and how they are read), arms (networks and starts)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Arm:
    """One line of the figure: a network and where its weights start.

    Attributes:
        title: For people.
        colour: Of its line.
        network: Name in the table of networks.
        changed: What differs from that network's settings.
        pretrained: It starts from masked auto-encoding on the images of the pool.
    """

    title: str
    colour: str
    network: str
    changed: Mapping[str, Any] = field(default_factory=dict)
    pretrained: bool = False

    @property
    def shape(self) -> str:
        """Name that arms with the same network share."""
        return "-".join([self.network, *(f"{key}{value}" for key, value in self.changed.items())])


_PATCH = {"stem": "patch"}
ARMS = {
    "mim": Arm("MIM-UNETR", "#c2410c", "unetr-small", pretrained=True),
    "scratch": Arm("UNETR from scratch", "#1d4ed8", "unetr-small"),
    "mim-patch": Arm("MIM-UNETR, patch stem", "#f59e0b", "unetr-small", _PATCH, pretrained=True),
    "scratch-patch": Arm("UNETR from scratch, patch stem", "#38bdf8", "unetr-small", _PATCH),
    "dynunet": Arm("MONAI DynUNet", "#4d7c0f", "dynunet-small"),
    "mim-primus": Arm("MIM-Primus", "#be185d", "primus-tiny", pretrained=True),
    "primus": Arm("Primus from scratch", "#7c3aed", "primus-tiny"),
}


@dataclass(frozen=True)
class Task:
    """Data, and how every arm reads them.

    Attributes:
        window: Voxels of a crop.
        spacing: Working spacing, mm.
        classes: Structures and background.
        modality: `CT` or `MR`.
        mirror: Half of the crops are mirrored from left to right.
        arms: What is trained.
        comparisons: Pairs of arms whose difference is tested.
        minutes: CPU minutes of one thread for each training by number of labelled cases, the same for all arms.
        seeds: Which cases, weights and crops: several where chance matters most.
        pretrain_minutes: Likewise, once for each pre-trained arm.
        floor: What a prediction scores that never looks at the image; None: not known.
        person: Whose scan a case of this name is.
    """

    window: tuple[int, int, int]
    spacing: tuple[float, float, float]
    classes: int
    modality: str
    mirror: bool
    arms: tuple[str, ...]
    comparisons: tuple[tuple[str, str], ...]
    minutes: Mapping[str, float]
    seeds: Mapping[str, tuple[int, ...]]
    pretrain_minutes: float
    floor: tuple[float, float] | None = None
    person: Callable[[str], str] = str


def _of_two_scans(name: str) -> str:
    """Scans 2k - 1 and 2k are of one person, says splits.json of the hippocampus data."""
    return str((int(name[-3:]) + 1) // 2)


TASKS = {
    "hippocampus": Task(
        window=(40, 56, 40), spacing=(1.0, 1.0, 1.0), classes=3, modality="MR", mirror=True,
        arms=("mim", "scratch", "dynunet"), comparisons=(("mim", "scratch"), ("mim", "dynunet")),
        minutes={"1": 2.0, "3": 2.0, "5": 2.0, "10": 3.0, "20": 3.0, "all": 12.0},
        seeds={"1": (0, 1, 2), "3": (0, 1, 2), "5": (0, 1, 2), "10": (0, 1, 2), "20": (0,), "all": (0,)},
        pretrain_minutes=45.0,
        # shared/README.md of the data: the usual place.
        floor=(0.64, 0.73),
        person=_of_two_scans,
    ),
    # Levels L1 to L5 look alike: only what lies around a vertebra tells which it is. A window holds nearly all of it.
    "spine": Task(
        window=(16, 56, 56), spacing=(4.0, 4.0, 4.0), classes=6, modality="MR", mirror=True,
        arms=("mim", "scratch", "mim-patch", "scratch-patch", "dynunet"),
        comparisons=(("mim", "scratch"), ("mim-patch", "scratch-patch"), ("mim-patch", "scratch")),
        minutes={"1": 4.0, "3": 4.0, "10": 4.0},
        seeds={"1": (0, 1, 2), "3": (0, 1, 2), "10": (0, 1, 2)},
        pretrain_minutes=35.0,
    ),
    # A window is 320 x 256 x 192 mm and sees most of an abdomen; left and right organs look alike.
    "abdomen": Task(
        window=(80, 64, 48), spacing=(4.0, 4.0, 4.0), classes=14, modality="CT", mirror=False,
        arms=("mim-primus", "primus", "dynunet", "mim-patch", "scratch-patch", "scratch"),
        comparisons=(
            ("mim-primus", "primus"), ("mim-primus", "dynunet"), ("mim-patch", "scratch-patch"),
            ("mim-patch", "dynunet"), ("primus", "scratch-patch"),
        ),
        minutes={"1": 6.0, "3": 6.0, "10": 6.0},
        seeds={"1": (0, 1, 2), "3": (0, 1, 2), "10": (0, 1, 2)},
        pretrain_minutes=25.0,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One training of the benchmark: which arm, how many labelled cases, which seed."""

    arm: str
    size: str
    seed: int

    @property
    def name(self) -> str:
        """Folder of the run."""
        return f"{self.arm}-{self.size}-seed{self.seed}"


def all_runs(task: Task, arms: tuple[str, ...] = (), sizes: tuple[str, ...] = ()) -> list[Run]:
    """All trainings, first seeds and few labels first, so that a stopped benchmark has complete comparisons."""
    seeds = sorted({seed for own in task.seeds.values() for seed in own})
    return [
        Run(arm, size, seed)
        for seed in seeds
        for size in sizes or task.minutes
        if seed in task.seeds[size]
        for arm in arms or task.arms
    ]
