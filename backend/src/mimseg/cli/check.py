"""`mimseg check`: problems of a labelled data set, before training."""

from __future__ import annotations

import argparse
from pathlib import Path

from mimseg.cli.options.reading import add_orientation_option
from mimseg.cli.output import print_out
from mimseg.cli.parser import settings_of
from mimseg.events import Reporter

HELP = "look for problems in a labelled data set before training"
EPILOG = """\
examples:
  mimseg check Task04_Hippocampus
  mimseg check cases.csv --model hippocampus-mr --validation validation.txt -o report

Finds unreadable files, labels on another grid, unknown, missing, empty or tiny labels, stray pieces and holes,
labels outside of the body, flipped cases, duplicates, one subject in training and validation, wrong intensity
scales and odd voxel sizes. Each case is compared with the others; nothing is changed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("data", type=Path, help="folder with imagesTr and labelsTr, dataset.json, or a case list")
    parser.add_argument(
        "-o", "--output", type=Path, help="report with pictures; .html and .json are appended (default: none)"
    )
    parser.add_argument("--labels", type=Path, help="JSON file that names the label values")
    parser.add_argument("--model", help="name or path of the model that training starts from: does the data suit it?")
    parser.add_argument("--modality", choices=("CT", "MR"), help="of the data (default: that of the model, if given)")
    parser.add_argument("--cases", help="training cases: names, a text file, or FILE.json:key (default: all)")
    parser.add_argument("--validation", help="validation cases, likewise")
    parser.add_argument(
        "--names-only", action="store_true", help="only say which files belong together and what is left out; read none"
    )
    add_orientation_option(parser)


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    """Check and print the findings."""
    from mimseg.commands.check.report import summary
    from mimseg.commands.check.run import CheckSettings, check

    settings = settings_of(CheckSettings, arguments, report=arguments.output)
    checked = check(settings, reporter)
    if not arguments.json_lines:
        print_out(summary(checked.findings, checked.cases))
