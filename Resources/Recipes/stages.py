"""What recipes have in common: arguments, calls of mimseg, passing over what is finished, going on where it ended."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

HERE = Path(__file__).resolve().parent
Stage = Callable[[argparse.Namespace], None]


def run_stages(
    text: str,
    model: str,
    stages: Mapping[str, Stage],
    pretrain_minutes: str,
    finetune_minutes: str,
    folders: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Read the arguments DATA and WORK and the options, then run the asked stages.

    Args:
        text: What the recipe says of itself.
        model: Name of what it makes.
        stages: In their order, by name; each is given the arguments.
        pretrain_minutes: Of the model that ships.
        finetune_minutes: Likewise.
        folders: Further arguments that name folders, with their help, after DATA and WORK.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    for name, meaning in folders.items():
        parser.add_argument(name, type=Path, help=meaning)
    parser.add_argument("--stage", choices=stages, help="only this stage")
    parser.add_argument("--pretrain-minutes", default=pretrain_minutes)
    parser.add_argument("--finetune-minutes", default=finetune_minutes)
    parser.add_argument("--output", type=Path, default=HERE.parent / "Models" / model)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    for name in [options.stage] if options.stage else stages:
        stages[name](options)
    return 0


def mimseg(*arguments: str) -> None:
    """Run one command of mimseg."""
    print("mimseg", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "mimseg", *arguments], check=True)


def pretrain(options: argparse.Namespace, *arguments: str) -> None:
    """Masked auto-encoding on the images of the pool."""
    folder = options.work / "pretraining"
    if (folder / "pretraining.json").is_file():
        return
    mimseg(
        "pretrain", str(options.data / "imagesTr"), "--cases", f"{options.data / 'splits.json'}:pool",
        "-o", str(folder), "--minutes", options.pretrain_minutes, *arguments, *resumed(folder),
    )  # fmt: skip


def finetune(options: argparse.Namespace, folder: str, *arguments: str) -> None:
    """A model in this folder of WORK on the labels of the pool, scored on the validation cases."""
    model, splits = options.work / folder, options.data / "splits.json"
    if (model / "segmentation.json").is_file():
        return
    mimseg(
        "finetune", str(options.data), "-o", str(model), "--cases", f"{splits}:pool",
        "--validation", f"{splits}:validation", "--minutes", options.finetune_minutes, *arguments,
        *resumed(options.work / f"{folder}.training"),
    )  # fmt: skip


def resumed(run: Path) -> list[str]:
    return ["--resume"] if (run / "checkpoint.pt").is_file() else []
