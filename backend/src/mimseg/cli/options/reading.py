"""Options on how scans are read, the same for every command that reads them."""

from __future__ import annotations

import argparse

from mimseg import formats


def add_orientation_option(parser: argparse.ArgumentParser) -> None:
    """How the axes run in files that do not say so."""
    parser.add_argument(
        "--orientation",
        type=_orientation,
        default=formats.UNSAID_ORIENTATION,
        metavar="CODE",
        help="of files that do not say how they are oriented: where their three axes run to, e.g. LPS for left, back, "
        "top (default: %(default)s); of no effect on others",
    )


def _orientation(text: str) -> str:
    code = text.upper()
    if len(code) != 3 or any(sum(letter in pair for letter in code) != 1 for pair in ("RL", "AP", "SI")):
        raise argparse.ArgumentTypeError(f"{text} is not one letter each of R/L, A/P and S/I, such as RAS")
    return code
