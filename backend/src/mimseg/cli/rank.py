"""`mimseg rank`: which of the volumes without labels to label next."""

from __future__ import annotations

import argparse
from pathlib import Path

from mimseg import formats
from mimseg.cli.options.reading import add_orientation_option
from mimseg.cli.output import print_out
from mimseg.cli.parser import settings_of
from mimseg.errors import UserError
from mimseg.events import Reporter

HELP = "choose which of many scans to label next, and show where a model is uncertain"
EPILOG = """\
examples:
  mimseg rank my-scans --model my-model -o ranking
  mimseg rank my-scans --model fold-1 --model fold-2 --labelled my-data --count 10 -o ranking

Writes rank.html, rank.json and rank.csv, and for each scan CASE_uncertainty.nii.gz (0 to 1) and a segmentation to
correct; what was corrected there is not replaced unasked. The report shows images and names of cases: handle it like
the data. Needs no PyTorch."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="INPUT", help="files, folders of files or DICOM series, case lists"
    )
    parser.add_argument(
        "-m", "--model", action="append", required=True, help="name, folder or .zip; may be repeated: an ensemble"
    )
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="REPORT", help="folder for report and maps")
    parser.add_argument("--count", type=int, default=5, metavar="N", help="how many to propose (default: 5)")
    parser.add_argument(
        "--labelled", type=Path, metavar="DATA", help="data set of the cases labelled already: propose others"
    )
    parser.add_argument("--cases", help="which of the inputs: names, a text file, or FILE.json:key (default: all)")
    parser.add_argument(
        "--augment",
        action="store_true",
        help="show each scan in several ways (shifted, other contrast, shading, noise) and measure the disagreement; "
        "six or seven times slower",
    )
    parser.add_argument(
        "--roi",
        action="append",
        default=[],
        metavar="X0,X1,Y0,Y1,Z0,Z1",
        help="rank only this box, in mm, RAS as 3D Slicer shows them; may be repeated",
    )
    add_orientation_option(parser)
    parser.add_argument("--frame", type=int, metavar="N", help="which volume of 4D files, from 0")
    parser.add_argument("--no-maps", action="store_true", help="write the report only")
    parser.add_argument("--format", choices=formats.LABELS_WRITTEN, default=".nii.gz", help="of the segmentations")
    parser.add_argument(
        "--replace",
        action="store_true",
        help="replace segmentations of an earlier run also where they were corrected since: that is lost",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads, default one per physical core")


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    """Rank and print the proposals."""
    from mimseg.cli.segment import parse_region

    regions = tuple(parse_region(text) for text in arguments.roi)
    for option in ("count", "threads"):
        value = getattr(arguments, option)
        if value is not None and value < 1:
            raise UserError(f"--{option} {value} is too few.", "Give 1 or more.", "usage")
    from mimseg.commands.rank.run import RankSettings, rank

    settings = settings_of(
        RankSettings,
        arguments,
        inputs=tuple(arguments.inputs),
        models=tuple(arguments.model),
        regions=regions,
        maps=not arguments.no_maps,
        file_format=arguments.format,
    )
    ranking = rank(settings, reporter)
    if not arguments.json_lines:
        print_out("\n".join(case.name for case in ranking.cases if case.proposed))
