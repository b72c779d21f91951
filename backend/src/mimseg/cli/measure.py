"""`mimseg measure`: the overlap and the quick mode of a model, from labelled cases."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mimseg.cli.output import print_out
from mimseg.cli.parser import settings_of
from mimseg.errors import UserError
from mimseg.events import Reporter

HELP = "measure the overlap of windows and the coarser spacing that a model tolerates, and store both in it"
EPILOG = """\
examples:
  mimseg measure my-model my-data
  mimseg measure my-model Task04_Hippocampus --cases splits.json:validation

Segments up to eight of the cases in several ways. The smallest overlap that gives the same labels becomes the model's;
the coarsest spacing that loses at most 0.02 of mean Dice and saves a fifth of the windows becomes its quick mode, for
`mimseg segment --quick`. Cases that the model was trained on are left out. What was measured is in the model card.
The network stays as it is. Needs no PyTorch. `mimseg finetune` does this by itself."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", metavar="MODEL", help="name (see `mimseg models list`) or folder; it is changed")
    parser.add_argument(
        "data", type=Path, metavar="DATA", help="folder with imagesTr and labelsTr, dataset.json, or a case list"
    )
    parser.add_argument("--cases", help="which of the cases: names, a text file, or FILE.json:key (default: all)")
    parser.add_argument(
        "--labels", type=Path, help="JSON file that the model was trained with, where structures may overlap"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--engine", choices=("auto", "openvino", "torch"), default="auto")
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads, default one per physical core")


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    """Measure, and print the table."""
    if arguments.threads is not None and arguments.threads < 1:
        raise UserError(f"--threads {arguments.threads} is too few.", "Give 1 or more, or leave it out.", "usage")
    from mimseg.commands.measure.run import MeasureSettings, measure_inference

    bundle = measure_inference(settings_of(MeasureSettings, arguments), reporter)
    if not arguments.json_lines and not arguments.quiet:
        print_out(format_table(bundle.description.scores["inference"]["variants"]))


def format_table(rows: list[dict[str, Any]]) -> str:
    """The measured variants, one line each."""
    names = {
        "overlap": "overlap", "spacing": "spacing", "cases": "cases", "windows": "windows", "mean_dice": "Dice",
        "mean_loss": "loss", "worst_loss": "worst loss", "mean_agreement": "agreement", "worst_agreement": "worst",
    }  # fmt: skip
    table = [tuple(names.values()), *(tuple(_cell(row[name]) for name in names) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(names))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
