"""What a study varies and what it keeps equal, as the user asked for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from mimseg.errors import UserError
from mimseg.networks.methods import METHODS
from mimseg.networks.settings import NetworkSettings, PatchNetworkSettings, pretrainable
from mimseg.networks.unetr_settings import UnetrSettings
from mimseg.studies.given import GivenWeights

Spacing = tuple[float, float, float]
SCRATCH, GIVEN = "scratch", "given"


def starts() -> tuple[str, ...]:
    """What a fine-tuning can start from: random weights, or an encoder of one of the pre-training methods."""
    return SCRATCH, *METHODS


def given_starts() -> tuple[str, ...]:
    """What it can start from where there are given weights: these, or their encoder continued by one of the methods."""
    return GIVEN, *(f"{GIVEN}+{method}" for method in METHODS)


def title_of(start: str) -> str:
    """One of `starts` or `given_starts` for people."""
    given, method = _parts(start)
    title = METHODS[method].title if method else SCRATCH
    if given:
        return f"given weights continued by {title}" if method else "given weights"
    return title


def _parts(start: str) -> tuple[bool, str | None]:
    """Whether there are given weights in a start, and the method that trains on the pool."""
    method = start.removeprefix(GIVEN).removeprefix("+")
    return start.startswith(GIVEN), method if method in METHODS else None


@dataclass(frozen=True)
class Design:
    """The scientific choices of a study. The defaults are the questions that the paper's claims ask.

    Attributes:
        claim: Name of the study, see `mimseg.studies.claims`.
        seeds: Each fine-tuning is repeated with every seed; a seed decides labelled cases, crops and random weights.
        pretrain_every_seed: Pre-train once a seed instead of once, with the first seed, for all of them.
        methods: Starts that `convergence` compares, of `starts` and `given_starts`; `scratch` is random weights.
        reference: Whose best validation score is the threshold of `convergence`; empty for the first method that masks
            nothing, or else scratch.
        mask_ratios: Of `masking`.
        patch_sizes: Of `masking`, voxels.
        with_scratch: Let `masking` train each patch size from scratch as well.
        decoders: Of `decoder`: width, blocks, attention heads of MAE's.
        heads: Of `decoder`: SimMIM's.
        spacings: Of `resolution`, mm along R, A, S.
        pretrain_spacing: Of `resolution`: pre-train once at this spacing; None for at each one's own.
        sizes: Of `labels`: numbers of labelled cases; 0 stands for all.
        labelled: Labelled cases in the other studies.
        floor: Dice that needs no image, such as a location prior's; None if unknown.
        network: Shape of the network but for window, channels and classes.
        window: Voxels of a crop at the finest spacing, or None to plan from the data.
        spacing: mm, or None for the median of the data.
        modality: `CT`, `MR`, or None to guess.
        batch: Crops per fine-tuning step.
        pretrain_batch: Crops per pre-training step.
        learning_rate: Peak of the fine-tunings.
        pretrain_learning_rate: Peak of the pre-trainings.
        layer_decay: Factor on the rate per pre-trained block; 1 treats every start alike.
        validations: Points of a validation curve.
        overlap: Of neighbouring windows at inference.
        flip_left_right: Mirror half of the crops.
        precision: Arithmetic of all runs, a Fabric precision or `auto`.
        given: Weights to start from as well, in `convergence` and `labels`; None if there are none.
    """

    claim: str
    seeds: tuple[int, ...] = (0, 1, 2)
    pretrain_every_seed: bool = False
    methods: tuple[str, ...] = field(default_factory=starts)
    reference: str = ""
    mask_ratios: tuple[float, ...] = (0.5, 0.75, 0.9)
    patch_sizes: tuple[int, ...] = (8, 16)
    with_scratch: bool = False
    decoders: tuple[tuple[int, int, int], ...] = ((192, 1, 6), (192, 4, 6), (512, 8, 8))
    heads: tuple[str, ...] = ("linear", "perceptron", "transposed_convolution")
    spacings: tuple[Spacing, ...] = ((1, 1, 1), (1.5, 1.5, 1.5), (2, 2, 2))
    pretrain_spacing: Spacing | None = None
    sizes: tuple[int, ...] = (1, 3, 10, 0)
    labelled: int = 10
    floor: float | None = None
    network: PatchNetworkSettings = field(default_factory=UnetrSettings)
    window: tuple[int, int, int] | None = None
    spacing: Spacing | None = None
    modality: str | None = None
    batch: int = 2
    pretrain_batch: int = 16
    learning_rate: float = 1e-3
    pretrain_learning_rate: float = 1e-3
    layer_decay: float = 1.0
    validations: int = 20
    overlap: float = 0.5
    flip_left_right: bool = False
    precision: str = "auto"
    given: GivenWeights | None = None

    def __post_init__(self) -> None:
        lists = (self.seeds, self.methods, self.mask_ratios, self.patch_sizes, self.spacings, self.sizes)
        if not all(lists) or any(len(set(values)) < len(values) for values in (*lists, self.decoders, self.heads)):
            raise UserError("A list of the study is empty or names something twice.", "Give each value once.", "usage")
        known = (*starts(), *given_starts())
        unknown = set(self.methods) - set(known)
        if unknown or (self.reference and self.reference not in self.methods):
            named = ", ".join(sorted(unknown)) or self.reference
            raise UserError(
                f"{named} is not among the methods {', '.join(known if unknown else self.methods)}.",
                "Choose --methods and --reference from them.",
                code="usage",
            )
        if min(self.labelled, self.batch, self.pretrain_batch) < 1 or min(self.sizes) < 0 or self.validations < 5:
            raise UserError("A number of cases, crops or validations is too small.", "Use at least 1 (validations 5).")
        if not all(0 < ratio < 1 for ratio in self.mask_ratios):
            raise UserError(f"Mask ratios {self.mask_ratios} must lie between 0 and 1.", "For example 0.5,0.75,0.9.")

    @property
    def threshold_from(self) -> str:
        """The method that sets the threshold of `convergence`."""
        others = [name for name in self.methods if name in METHODS and not METHODS[name].masked]
        found = self.reference or next(iter(others), SCRATCH)
        return found if found in self.methods else self.methods[0]

    def pretraining_seed(self, seed: int) -> int:
        """The seed of the pre-training that the fine-tuning with `seed` starts from."""
        return seed if self.pretrain_every_seed else self.seeds[0]

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        return {**asdict(self), "network": self.network.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Design:
        """The design that `to_json` wrote, also after a way through JSON."""
        known = {entry.name for entry in fields(cls)}
        content = {key: _tuples(value) for key, value in values.items() if key in known - {"network", "given"}}
        given = GivenWeights(**values["given"]) if values.get("given") else None
        return cls(**content, network=pretrainable(NetworkSettings.from_json(values["network"])), given=given)


@dataclass(frozen=True)
class Variant:
    """One row of a study: a network and what it starts from. Every variant is fine-tuned with every seed.

    Attributes:
        name: Shown in tables; unique in its study.
        factors: What the study varies, by name, for columns and axes.
        method: Method that pre-trains on the pool, or None.
        method_settings: Differences from the method's defaults.
        patch_size: Voxels, or None for the network's.
        spacing: mm, or None for the study's.
        pretrain_spacing: mm, or None for that of the fine-tuning.
        labelled: Number of labelled cases, or None for the study's; 0 for all.
        given: The study's given weights are what it starts from, or what `method` starts from.
    """

    name: str
    factors: dict[str, Any]
    method: str | None = None
    method_settings: dict[str, Any] = field(default_factory=dict)
    patch_size: int | None = None
    spacing: Spacing | None = None
    pretrain_spacing: Spacing | None = None
    labelled: int | None = None
    given: bool = False

    @classmethod
    def of_start(cls, start: str, name: str, factors: dict[str, Any], labelled: int | None = None) -> Variant:
        """The row of one of `starts` or `given_starts`, which its factors name."""
        given, method = _parts(start)
        return cls(name, {"start": title_of(start), **factors}, method, labelled=labelled, given=given)

    @property
    def level(self) -> int:
        """Rows are compared with those of a lower level.

        0: random weights, or a method that masks nothing. 1: masked image modelling. 2: given weights. 3: these
        continued on the pool.
        """
        if self.given:
            return 2 if self.method is None else 3
        return int(self.method is not None and METHODS[self.method].masked)


Variants = Sequence[Variant]
Complete = Callable[[str, dict[str, Any]], dict[str, Any]]


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    return tuple(_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value
