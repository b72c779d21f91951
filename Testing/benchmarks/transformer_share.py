"""What the transformer of the label-efficiency benchmark's UNETR is worth: train it with zeros in place of its states.

    python Testing/benchmarks/transformer_share.py DATA WORK [--size 1] [--seed 0]

WORK is that of `label_efficiency.py`: the steps are its plan's, and the run `scratch-SIZE-seedSEED` there is the same
training with the transformer. What pre-training adds to the transformer can hardly exceed the difference.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import label_efficiency_training as training
import torch
from label_efficiency_runs import TASKS, Run
from torch import Tensor

from mimseg.networks.vit import ViT


def main() -> None:
    """Train and score; print both results if there are both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--size", default="1")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = Run("scratch", options.size, options.seed)
    folder = options.work / f"zeros-{options.size}-seed{options.seed}"
    if not (folder / "scores.json").is_file():
        plan = json.loads((options.work / "plan.json").read_text(encoding="utf-8"))
        usual = ViT.forward

        def zeros(self: ViT, volume: Tensor) -> tuple:
            tokens, states, features = usual(self, volume)
            return tokens * 0, [state * 0 for state in states], features

        ViT.forward = zeros  # type: ignore[method-assign]
        training.train_one(TASKS["hippocampus"], options.data, options.work, folder, plan, run)
    for name in (folder.name, run.name):
        path = options.work / name / "scores.json"
        if path.is_file():
            print(f"{name}: {json.loads(path.read_text(encoding='utf-8'))['summary']['mean_dice']:.4f}")


if __name__ == "__main__":
    main()
