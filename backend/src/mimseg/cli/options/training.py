"""Options that pretrain and finetune share, and what they mean as settings. Imports no torch."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from mimseg.cli.options.presets import NAMES, NETWORK
from mimseg.errors import UserError
from mimseg.networks.settings import PATCH_SIZES, NetworkSettings
from mimseg.networks.table import full_name, named_settings, network_names
from mimseg.networks.unetr_settings import POSITIONS, STEMS

if TYPE_CHECKING:
    from mimseg.training.augmentation import AugmentationSettings
    from mimseg.training.optimiser.schedule import Schedule


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Shape of the network."""
    group = parser.add_argument_group("network (taken over from the start weights where there are some)")
    group.add_argument(
        "--network",
        type=full_name,
        choices=network_names(),
        metavar="NAME",
        help=f"{', '.join(network_names())} (default: that of the preset)",
    )
    group.add_argument("--patch-size", type=int, choices=PATCH_SIZES, help="edge of a patch in voxels")
    group.add_argument("--stem", choices=STEMS, help="how voxels become tokens")
    group.add_argument("--positions", choices=POSITIONS, help="position embeddings")
    for option, text in (
        ("--hidden-size", "width of a token"),
        ("--mlp-size", "width of the perceptrons"),
        ("--layers", "transformer blocks"),
        ("--heads", "attention heads"),
        ("--feature-size", "channels of the full-resolution convolutions"),
    ):
        group.add_argument(option, type=int, help=text)
    group.add_argument("--window", help="voxels of a crop, e.g. 96,96,96 (default: planned from the data)")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Budget, data, device, schedule."""
    group = parser.add_argument_group("run")
    group.add_argument(
        "--preset",
        choices=NAMES,
        default="small",
        help="what options default to: small computers, or the recipe of Chen et al. 2023 (default: %(default)s)",
    )
    group.add_argument("--minutes", type=float, help="how long to train")
    group.add_argument("--steps", type=int, help="how many steps to train, instead of --minutes")
    group.add_argument("--seed", type=int, default=0, help="decides everything random (default: %(default)s)")
    group.add_argument("--resume", action="store_true", help="continue a stopped run, with the same settings")
    group.add_argument("--batch", type=int, help="crops per step and process")
    group.add_argument("--crops-per-volume", type=int, help="how many of them come from the same volume")
    group.add_argument("--modality", choices=("CT", "MR"), help="default: guessed from the values")
    group.add_argument("--spacing", help="target spacing in mm, e.g. 1.5,1.5,2 (default: median of the data)")
    group.add_argument(
        "--preprocessing",
        metavar="NAME|FILE",
        help="preprocessing of Chen et al. by name (btcv, brats), or a JSON file such as a model has",
    )
    group.add_argument(
        "--flip-left-right",
        action="store_true",
        help="mirror half of the crops; only where no structure is named left or right",
    )
    group.add_argument(
        "--flip-pairs",
        action="store_true",
        help="mirror half of the crops and swap the structures that are named left and right",
    )
    group.add_argument(
        "--cut-off",
        type=share_of_crops,
        default=0.0,
        metavar="SHARE",
        help="share of crops (0 to 1) that end early, as scans of few slices do (default: 0)",
    )
    group.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    group.add_argument("--precision", default="auto", help="auto, 32-true, bf16-mixed or 16-mixed")
    group.add_argument("--devices", type=int, help="processes per node; start them with torchrun or SLURM")
    group.add_argument("--nodes", type=int, default=1, help="number of nodes")
    group = parser.add_argument_group("schedule (defaults: those of the preset)")
    group.add_argument(
        "--optimizer", choices=("muon", "adamw"), help="muon for matrices and kernels, or adamw for everything"
    )
    for option, text in (
        ("--learning-rate", "peak rate"),
        ("--weight-decay", "decoupled, of matrices and kernels"),
        ("--warmup", "share of the run with rising rate"),
        ("--floor", "rate at the end, as a share of the peak"),
        ("--clip", "largest norm of the gradient; 0: no limit"),
        ("--average", "decay of the moving average of the weights; 0: none"),
    ):
        group.add_argument(option, type=float, help=text)


def share_of_crops(text: str) -> float:
    """A number from 0 to 1."""
    try:
        share = float(text)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no number from 0 to 1")
    return share


def shared_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What both commands' settings have in common, by field name; after `apply_preset`."""
    return {
        "network": network_from(arguments),
        "network_asked": arguments.network is not None,
        "cases": arguments.cases,
        "window": window_from(arguments),
        "spacing": spacing_from(arguments),
        "modality": arguments.modality,
        "preprocessing": arguments.preprocessing,
        "batch": arguments.batch,
        "crops_per_volume": arguments.crops_per_volume,
        "schedule": schedule_from(arguments),
        "augmentation": augmentation_from(arguments),
        "seed": arguments.seed,
        "device": arguments.device,
        "precision": arguments.precision,
        "devices": arguments.devices,
        "nodes": arguments.nodes,
    }


def schedule_from(arguments: argparse.Namespace) -> Schedule:
    """Learning rates and averaging."""
    from mimseg.training.optimiser.schedule import Schedule

    names = ("learning_rate", "weight_decay", "warmup", "floor", "betas", "clip", "average", "optimizer")
    return Schedule(**{name: getattr(arguments, name) for name in names})


def augmentation_from(arguments: argparse.Namespace) -> AugmentationSettings:
    """The preset's augmentation, mirrored if asked.

    Raises:
        UserError: Mirrored in two ways that exclude each other.
    """
    if arguments.flip_left_right and arguments.flip_pairs:
        raise UserError(
            "--flip-left-right and --flip-pairs exclude each other.",
            "Use --flip-pairs where structures are named left and right, else --flip-left-right.",
            "bad-usage",
        )
    from mimseg.training.augmentation import AugmentationSettings

    return AugmentationSettings(
        **arguments.augmentation,
        flip_left_right=arguments.flip_left_right,
        flip_pairs=arguments.flip_pairs,
        cut_off=arguments.cut_off,
    )


def network_from(arguments: argparse.Namespace) -> NetworkSettings:
    """The named network or the preset's, with the given changes.

    Raises:
        UserError: That network has no such setting, or a value does not fit.
    """
    names = ("patch_size", "stem", "positions", "hidden_size", "mlp_size", "layers", "heads", "feature_size")
    changes = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    preset = named_settings(arguments.network or NETWORK[getattr(arguments, "preset", "small")])
    edge = 6 * changes.get("patch_size", preset.divisor)
    return preset.changed(window=(edge, edge, edge), **changes)


def window_from(arguments: argparse.Namespace) -> tuple[int, int, int] | None:
    """Three whole numbers, or None."""
    if arguments.window is None:
        return None
    x, y, z = (int(value) for value in _three(arguments.window, "--window"))
    return x, y, z


def spacing_from(arguments: argparse.Namespace) -> tuple[float, float, float] | None:
    """Three numbers in mm, or None."""
    if arguments.spacing is None:
        return None
    x, y, z = _three(arguments.spacing, "--spacing")
    if min(x, y, z) <= 0:
        raise UserError(f"--spacing {arguments.spacing} is not positive.", "Give millimetres.", code="bad-usage")
    return x, y, z


def _three(text: str, option: str) -> tuple[float, float, float]:
    try:
        values = [float(part) for part in text.replace("x", ",").split(",")]
        x, y, z = values * 3 if len(values) == 1 else values
    except ValueError as fault:
        raise UserError(f"{option} {text} is not one or three numbers.", f"For example {option} 48,48,48.") from fault
    return x, y, z


def decoder_from(text: str) -> tuple[int, int, int]:
    """Width, blocks and heads of MAE's decoder in `512x8` or `512x8x8`.

    Without heads those of the release of Chen et al., 6 up to a width of 511 and 8 from there.

    Raises:
        UserError: The text is none of these.
    """
    try:
        width, layers, *heads = (int(part) for part in text.lower().split("x"))
        if len(heads) > 1 or min(width, layers, *heads) < 1:
            raise ValueError(text)
    except ValueError as fault:
        raise UserError(f"The decoder {text!r} is not WIDTHxBLOCKS.", "For example 512x8.", "bad-usage") from fault
    return width, layers, heads[0] if heads else (8 if width >= 512 else 6)
