"""`mimseg check`: problems of a labelled data set, before training."""

from __future__ import annotations

import argparse
from pathlib import Path

from mimseg.cli.output import print_out
from mimseg.events import Reporter

HELP = "look for problems in a labelled data set before training"
EPILOG = "example:\n  mimseg check Task04_Hippocampus"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("data", type=Path, help="folder with imagesTr and labelsTr, dataset.json, or a case list")
    parser.add_argument("--labels", type=Path, help="JSON file that names the label values")
    parser.add_argument("--modality", choices=("CT", "MR"), help="of the model that training starts from")


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    """Check and print the findings."""
    from mimseg.tasks.check import check

    problems = check(arguments.data, reporter, arguments.labels, arguments.modality)
    if not arguments.json_lines:
        print_out("No problem found." if not problems else f"{len(problems)} problem(s) found, see above.")
