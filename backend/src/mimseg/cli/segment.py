"""`mimseg segment`: labels for scans."""

from __future__ import annotations

import argparse
from pathlib import Path

from mimseg import formats
from mimseg.cli.options.reading import add_orientation_option
from mimseg.cli.parser import settings_of
from mimseg.errors import UserError
from mimseg.events import Reporter

HELP = "Segment scans with a model. For research use only."
EPILOG = """\
examples:
  mimseg segment brain.nii.gz --model hippocampus-mr --roi 8,48,-45,5,-40,15 -o hippocampus.seg.nrrd
  mimseg segment dicom_folder scan.nrrd --model hippocampus-mr -o results --table results/volumes.csv
  mimseg segment dicom_folder --model hippocampus-mr -o result.dcm

several processes share the list, start with their own part and help each other; what has a result is left out:
  torchrun --nproc-per-node=2 -m mimseg segment scans/ --model my-model -o results
  srun --ntasks=8 python -m mimseg segment scans/ --model my-model -o results --table results/volumes.csv

The result lies exactly on the scan's grid. Formats by ending: .nii.gz .nii .nrrd .mha (labelmap), .seg.nrrd
(3D Slicer segmentation with names, colours and SNOMED CT codes), .dcm (DICOM segmentation of a DICOM series; like the
series it names the patient).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "inputs",
        nargs="+",
        type=Path,
        metavar="INPUT",
        help="NIfTI, NRRD or MetaImage file, a folder with one DICOM series, or a folder of such files: all of them "
        "but label... and ..._segmentation; for a model of several channels, the files of each case in turn",
    )
    parser.add_argument("-m", "--model", required=True, help="name (see `mimseg models list`), folder or .zip")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help="file, or folder for several")
    parser.add_argument(
        "--format", choices=formats.LABELS_WRITTEN, default=".nii.gz", help="of files in an output folder"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--engine", choices=("auto", "openvino", "torch"), default="auto")
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads, default one per physical core")
    parser.add_argument(
        "--precision",
        choices=("auto", "f32", "bf16"),
        default="auto",
        help="auto: 16-bit arithmetic (bf16) where the processor has it and it was measured to change no score of the "
        "model; else f32",
    )
    parser.add_argument("--labels", default="", metavar="A,B", help="keep only these structures")
    parser.add_argument(
        "--roi",
        action="append",
        default=[],
        metavar="X0,X1,Y0,Y1,Z0,Z1",
        help="segment only this box, in mm, RAS as 3D Slicer shows them; may be repeated; a turned box has twelve "
        "numbers: a corner and the three edges that meet there",
    )
    add_orientation_option(parser)
    parser.add_argument("--frame", type=int, metavar="N", help="which volume of a 4D file, from 0")
    parser.add_argument("--overlap", type=float, metavar="SHARE", help="of neighbouring windows, default the model's")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="coarser voxels, where the model has such a mode; its measured loss is said (see `mimseg models show`)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="leave out cases that have a result; a result is always complete",
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="replace results of an earlier run also where they were corrected since: that is lost",
    )
    parser.add_argument(
        "--table",
        type=Path,
        metavar="CSV",
        help="write the volume of each structure in mL; with --resume or several ranks, rows are added to the "
        "table, and those of other scans stay",
    )
    parser.add_argument("--preview", type=Path, metavar="PNG", help="write a picture of three planes with overlay")


def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
    """Carry out the command."""
    regions = tuple(parse_region(text) for text in arguments.roi)
    if arguments.threads is not None and arguments.threads < 1:
        raise UserError(f"--threads {arguments.threads} is too few.", "Give 1 or more, or leave it out.", "usage")
    if arguments.overlap is not None and not 0 <= arguments.overlap <= 0.95:
        raise UserError(f"--overlap {arguments.overlap} is not usable.", "Give a share from 0 to 0.95.", "usage")
    from mimseg.commands.segment.run import segment
    from mimseg.commands.segment.settings import SegmentSettings

    settings = settings_of(
        SegmentSettings,
        arguments,
        inputs=tuple(arguments.inputs),
        labels=tuple(name.strip() for name in arguments.labels.split(",") if name.strip()),
        regions=regions,
        file_format=arguments.format,
    )
    segment(settings, reporter)


def parse_region(text: str) -> tuple[float, ...]:
    """Six numbers separated by commas, or twelve of a turned box.

    Raises:
        UserError: They are not.
    """
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (6, 12):
        raise UserError(
            f"--roi {text} is not six numbers.",
            "Write X0,X1,Y0,Y1,Z0,Z1 in mm with commas and without spaces, for example --roi=-48,-8,-45,5,-40,15.",
            "usage",
        )
    return numbers
