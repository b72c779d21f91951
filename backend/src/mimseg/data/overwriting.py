"""What a result must not replace: what was read, and what mimseg did not write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from mimseg import formats
from mimseg.data.dicom.dataset import read_dataset
from mimseg.data.dicom.structures import kind_of
from mimseg.data.labels.drawn import MADE_BY, MARK
from mimseg.data.opening import open_image
from mimseg.data.scans import holds_labels
from mimseg.data.writers.dicom_seg import MANUFACTURER
from mimseg.errors import UserError
from mimseg.events import Reporter

# Ends the names of results in a folder.
RESULT = "_segmentation"


def refuse_overwriting(outputs: Iterable[Path], inputs: Sequence[Path]) -> None:
    """Refuse results that would replace an input, or a file that is not theirs to replace.

    Args:
        outputs: Files to write; those that are not there yet are always right.
        inputs: Files and folders of DICOM series.

    Raises:
        UserError: An output is an input, a folder, DICOM that mimseg did not write, or an image that holds no labels.
    """
    read = {path.resolve() for path in inputs}
    for output in outputs:
        if output.resolve() in read or any(_same(output, path) for path in inputs):
            raise UserError(f"The output {output} is also an input.", "Choose another output.", code="bad-output")
        if output.is_dir():
            raise UserError(f"The output {output} is a folder.", "Choose another output.", code="bad-output")
        # An empty file is what a full disk left of a result.
        if not output.is_file() or output.stat().st_size == 0:
            continue
        if formats.is_dicom(output):
            if not _is_our_dicom(output):
                raise UserError(
                    f"{output} is a DICOM file that mimseg did not write, such as a slice of a series.",
                    "Choose a name that no file has.",
                    "bad-output",
                )
        elif not may_be_result(output):
            raise UserError(
                f"{output} is there and holds no labels: it is no earlier result, but may be a scan.",
                "Choose a name that no file has.",
                "bad-output",
            )


def _same(output: Path, path: Path) -> bool:
    """One file under two names: on some disks upper and lower case are the same."""
    with suppress(OSError):
        return output.samefile(path)
    return False


def _is_our_dicom(path: Path) -> bool:
    with suppress(UserError, OSError):
        return kind_of(path) == "structures" and str(read_dataset(path).get("Manufacturer", "")) == MANUFACTURER
    return False


def may_be_result(path: Path) -> bool:
    """Whether a file is no scan: by its name or mark, or by its voxels, since plain labels need not have a mark."""
    found = formats.format_of(path)
    if found is None or not found.image or formats.stem_of(path).endswith(RESULT):
        return True
    with suppress(UserError, MemoryError):
        image = open_image(path)
        # Labels of a model with very many structures have as many values as a scan.
        if image.header.metadata.get(MARK, "").startswith(MADE_BY):
            return True
        return holds_labels(image.read(0, formats.UNSAID_ORIENTATION, Reporter())[0])
    return False
