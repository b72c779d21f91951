"""A step of MAE with Primus: embedding visible patches alone, and Muon in bfloat16, each beside what it replaced.

    python Testing/benchmarks/mae_step.py [--rounds 8]

Made-up crops, 16 of 80 x 64 x 48 voxels, one thread, bfloat16 where the processor has it. Processor seconds, the least
of several rounds, in turn: of forward and backward, with the convolution over all patches or the product for the
visible ones; and of Muon's products for all matrices, in float32 or bfloat16.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn

from mimseg.networks import primus
from mimseg.networks.methods.mae import MaeSettings, MaskedAutoencoder
from mimseg.networks.table import named_settings
from mimseg.training.optimiser.muon import orthogonalized
from mimseg.training.precision import possible_precisions

WINDOW, CROPS = (80, 64, 48), 16


def main() -> None:
    """Time both pairs and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape: Any = named_settings("primus-tiny").changed(window=WINDOW, classes=2)
    network = MaskedAutoencoder(shape, MaeSettings())
    crops, hidden = torch.randn(CROPS, 1, *WINDOW), network.draw_mask(CROPS, torch.Generator().manual_seed(0))
    half = "bf16-mixed" in possible_precisions(torch.device("cpu"))
    ours = primus.project_patches

    def step(project: Callable[..., Tensor]) -> None:
        primus.project_patches = project
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = network(crops, hidden)
        loss.float().backward()
        network.zero_grad(set_to_none=True)

    matrices = [value.detach().flatten(1) for value in network.parameters() if value.ndim > 1 and len(value) > 1]

    def muon(dtype: torch.dtype) -> None:
        for matrix in matrices:
            orthogonalized(matrix, dtype)

    seconds = least(
        {
            "all patches": lambda: step(of_all_patches),
            "visible patches": lambda: step(ours),
            "muon, float32": lambda: muon(torch.float32),
            **({"muon, bfloat16": lambda: muon(torch.bfloat16)} if half else {}),
        },
        options.rounds,
    )
    ratios = {"visible / all patches": round(seconds["visible patches"] / seconds["all patches"], 2)}
    if half:
        ratios["muon, bfloat16 / float32"] = round(seconds["muon, bfloat16"] / seconds["muon, float32"], 2)
    print(json.dumps({"bfloat16": half, "ratios": ratios, "seconds": {k: round(v, 3) for k, v in seconds.items()}}))


def of_all_patches(projection: nn.Conv3d, volume: Tensor, chosen: Tensor) -> Tensor:
    """What `project_patches` gives, by the convolution over everything."""
    return projection(volume).flatten(2).transpose(1, 2)[chosen]


def least(parts: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Processor seconds of each part, all in turn; the first round only warms up."""
    found = dict.fromkeys(parts, float("inf"))
    for number in range(rounds + 1):
        for name, part in parts.items():
            began = time.process_time()
            part()
            own = time.process_time() - began
            found[name] = min(found[name], own) if number else found[name]
    return found


if __name__ == "__main__":
    main()
