"""What a whole training step costs beside the network's own forward and backward pass, and beside its peer's step.

    python Testing/benchmarks/training_step.py [--classes 14] [--window 96,80,64] [--threads 1] [--rounds 5]

Ours: crop with augmentation, UNETR (small), loss, optimiser, moving average, as `finetune` puts them together, in the
layout and precision that it chooses here. Peer: MONAI's DynUNet (16 channels) with MONAI's own parts (RandAffined,
RandGaussianNoised, DiceCELoss) and AdamW, in the same precision. All are timed in turn on a made-up volume; the
shortest of the rounds counts. The share of the peak is that of the largest matrix products measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import DynUNet
from monai.transforms import Compose, RandAffined, RandGaussianNoised, RandScaleIntensityd
from torch.utils.flop_counter import FlopCounterMode

from mimseg.memory import keep_freed_memory
from mimseg.networks.table import named_settings
from mimseg.training.augmentation import AugmentationSettings
from mimseg.training.crops.cache import TrainingCase
from mimseg.training.crops.draw import draw_batch
from mimseg.training.layout import is_channels_last, lay_out
from mimseg.training.losses import dice_and_cross_entropy
from mimseg.training.optimiser.averaging import AveragedWeights
from mimseg.training.optimiser.muon import make_optimizer
from mimseg.training.optimiser.schedule import parameter_groups
from mimseg.training.precision import fastest

Step = Callable[[], Any]


def main() -> None:
    """Time everything in turn and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=14)
    parser.add_argument("--window", default="96,80,64")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    x, y, z = (int(edge) for edge in options.window.split(","))
    case = made_up_case(options.classes, (x + 24, y + 24, z + 24))
    network = _unetr((x, y, z), options.classes)
    example = torch.randn(1, 1, x, y, z)
    precision, last = fastest(torch.device("cpu"), network, example, channels_last=True)
    lay_out(network, last)
    half = precision != "32-true"
    steps = {
        "network": network_pass(network, example, half),
        "drawing": lambda: draw_batch([case], (x, y, z), AugmentationSettings(), 0.33, 1, 0, next(_COUNT)),
        "step": our_step(network, case, (x, y, z), half),
        "dynunet_step": peer_step(case, (x, y, z), options.classes, half),
    }
    seconds: dict[str, float] = dict.fromkeys(steps, float("inf"))
    for _ in range(options.rounds):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            seconds[name] = min(seconds[name], time.perf_counter() - began)
    with FlopCounterMode(display=False) as counter:
        network_pass(network, example, False)()
    gflop = counter.get_total_flops() / 1e9
    peak = peak_gflops(half, options.rounds)
    report = {
        "precision": precision,
        "channels_last": is_channels_last(network),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "step_over_network": round(seconds["step"] / seconds["network"], 3),
        "drawing_over_step": round(seconds["drawing"] / seconds["step"], 3),
        "step_over_dynunet_step": round(seconds["step"] / seconds["dynunet_step"], 3),
        "gflop": round(gflop, 1),
        "peak_gflops": round(peak, 1),
        "share_of_peak_network": round(gflop / seconds["network"] / peak, 3),
        "share_of_peak_step": round(gflop / seconds["step"] / peak, 3),
    }
    print(json.dumps(report, indent=1))


_COUNT = iter(range(10**9))


def made_up_case(classes: int, size: tuple[int, int, int]) -> TrainingCase:
    """A volume of smooth noise whose levels are the classes."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn((1, 1, 7, 7, 7), generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=size, mode="trilinear", align_corners=True)[0]
    ranks = smooth.flatten().argsort().argsort().reshape(size)
    label = (ranks * classes // ranks.numel()).to(torch.uint8)
    points = tuple((label == index).nonzero()[:2000] for index in range(1, classes))
    return TrainingCase("made up", smooth.contiguous(), label, points, None, None, "", np.eye(classes, dtype=bool)[1:])


def _unetr(window: tuple[int, int, int], classes: int) -> Any:
    return named_settings("unetr-small").changed(window=window, classes=classes).build().train()


def network_pass(network: torch.nn.Module, example: torch.Tensor, half: bool) -> Step:
    """Forward and backward, with the cheapest loss there is."""

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            output = network(example)
        output.float().mean().backward()
        network.zero_grad(set_to_none=True)

    return step


def our_step(network: torch.nn.Module, case: TrainingCase, window: tuple[int, int, int], half: bool) -> Step:
    """A whole step as `finetune` takes it."""
    groups = parameter_groups(network, 1e-3, 0.05, named_settings("unetr-small"), 0.9, set(), "muon")
    optimizer = make_optimizer(groups, (0.9, 0.98), dtype=torch.bfloat16 if half else torch.float32)
    average = AveragedWeights(network, 0.995)
    compute = dice_and_cross_entropy()

    def step() -> None:
        images, classes = draw_batch([case], window, AugmentationSettings(), 0.33, 1, 0, next(_COUNT))
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = network(images)
        compute(logits.float(), classes).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(network)

    return step


def peer_step(case: TrainingCase, window: tuple[int, int, int], classes: int, half: bool) -> Step:
    """DynUNet's step of MONAI's parts."""
    network = DynUNet(3, 1, classes, [3] * 4, [1, 2, 2, 2], [2, 2, 2], filters=[16, 32, 64, 128]).train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, fused=True)
    compute = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    keys = ("image", "label")
    draw = Compose(
        [
            RandAffined(
                keys, prob=1, spatial_size=window, rotate_range=[0.26] * 3, scale_range=[0.2] * 3,
                mode=("bilinear", "nearest"), padding_mode="zeros",
            ),
            RandScaleIntensityd("image", 0.25, prob=0.3),
            RandGaussianNoised("image", prob=0.2),
        ]
    )  # fmt: skip
    content = {"image": case.image, "label": None if case.label is None else case.label[None].float()}

    def step() -> None:
        crop = draw(dict(content))
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = network(crop["image"].as_tensor()[None])
        compute(logits.float(), crop["label"].as_tensor()[None]).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def peak_gflops(half: bool, rounds: int, edge: int = 2048) -> float:
    """Of matrix products, the fastest of several."""
    left = torch.randn(edge, edge, dtype=torch.bfloat16 if half else torch.float32)
    best = float("inf")
    for _ in range(rounds + 1):
        began = time.perf_counter()
        left @ left
        best = min(best, time.perf_counter() - began)
    return 2 * edge**3 / best / 1e9


if __name__ == "__main__":
    main()
