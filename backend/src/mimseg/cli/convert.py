"""`mimseg convert`: labels in another format."""

from __future__ import annotations

import argparse
from pathlib import Path

from mimseg.cli.options.reading import add_orientation_option
from mimseg.cli.parser import settings_of
from mimseg.events import Reporter

HELP = "write labels in another format, for example a corrected segmentation as DICOM"
EPILOG = """\
examples:
  mimseg convert corrected.seg.nrrd --scan dicom_folder -o corrected.dcm
  mimseg convert series/seg.dcm -o labels.seg.nrrd

Names, colours, codes and the models that drew the structures are kept where the format has a place for them. With
--scan, the labels must lie on the scan, voxel on voxel, and so does the result.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("labels", type=Path, help="label map, .seg.nrrd, DICOM segmentation or RTSTRUCT")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help="the ending says the format")
    parser.add_argument(
        "--scan", type=Path, help="what they were drawn on; a DICOM segmentation needs the folder of its series"
    )
    add_orientation_option(parser)
    parser.add_argument("--frame", type=int, metavar="N", help="which volume of a 4D scan, from 0")


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    """Carry out the command."""
    from mimseg.commands.convert.run import ConvertSettings, convert

    reporter.result(output=str(convert(settings_of(ConvertSettings, arguments), reporter)))
