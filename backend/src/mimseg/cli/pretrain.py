"""`mimseg pretrain`: masked image modelling on unlabelled volumes."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from mimseg.cli.training_options import add_network_options, add_run_options, shared_settings
from mimseg.events import Reporter

HELP = "pre-train an encoder on unlabelled volumes (masked auto-encoder)"
EPILOG = "example:\n  mimseg pretrain scans/ -o my-pretraining --minutes 60"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("data", nargs="+", type=Path, help="files or folders with volumes, DICOM included")
    parser.add_argument("-o", "--output", required=True, type=Path, help="folder of the run")
    parser.add_argument("--cases", help="only these volumes: names without extension, a text file, or FILE.json:key")
    group = parser.add_argument_group("masked auto-encoder")
    group.add_argument("--mask-ratio", type=float, default=0.75, help="share of patches hidden (default: %(default)s)")
    group.add_argument("--decoder-layers", type=int, default=1, help="transformer blocks (default: %(default)s)")
    group.add_argument("--decoder-size", type=int, default=192, help="width of its tokens (default: %(default)s)")
    group.add_argument("--decoder-heads", type=int, default=6, help="attention heads (default: %(default)s)")
    group.add_argument("--normalize-target", action="store_true", help="reconstruct normalised patches, not raw voxels")
    add_run_options(parser)
    add_network_options(parser)


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    """Pre-train."""
    from mimseg.cli.requirements import need_training_runtime

    need_training_runtime()
    from mimseg.networks.mae import MaeSettings
    from mimseg.tasks.pretrain import pretrain
    from mimseg.tasks.pretrain_settings import PretrainSettings
    from mimseg.training.loop import Budget

    settings = PretrainSettings(
        data=tuple(arguments.data),
        output=arguments.output,
        budget=Budget(arguments.steps, arguments.minutes),
        mae=MaeSettings(
            mask_ratio=arguments.mask_ratio,
            decoder_size=arguments.decoder_size,
            decoder_layers=arguments.decoder_layers,
            decoder_heads=arguments.decoder_heads,
            normalize_target=arguments.normalize_target,
        ),
        batch=arguments.batch or 16,
        resume=arguments.resume,
        **shared_settings(arguments),
    )
    augmentation = replace(settings.augmentation, flip_left_right=arguments.flip_left_right)
    pretrain(replace(settings, augmentation=augmentation), reporter)
