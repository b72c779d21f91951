"""Which volumes and labelmaps belong together: labelled data sets in the layouts that researchers have.

Others use `load_dataset`, `pick_cases`, `Case`, `Dataset`, `Flaw` and `stem`, imported from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mimseg.data.cases.case import Case, Dataset, Flaw, stem
from mimseg.data.cases.description import describes_cases, read_description
from mimseg.data.cases.dicom import pair_dicom
from mimseg.data.cases.folders import pair_beside, pair_folders
from mimseg.data.cases.lists import cases_of_list, read_table
from mimseg.data.cases.selection import pick_cases
from mimseg.data.text_files import read_json
from mimseg.errors import UserError

__all__ = ["Case", "Dataset", "Flaw", "is_dataset", "load_dataset", "pick_cases", "stem"]


def load_dataset(data: Path, without_images: bool = False, orientation: str = "") -> Dataset:
    """Find the cases of a data set.

    Args:
        data: A folder with `dataset.json` (Medical Segmentation Decathlon or nnU-Net), a folder with `imagesTr`
            and `labelsTr`, a folder of scans with their labelmaps beside them, a folder of DICOM series each with a
            segmentation or contours, such a `dataset.json` itself, or a case list: CSV with the columns `image`
            (several channels separated by `|`), `label`, and optionally `id`, `subject` and `orientation` (of files
            that do not say it), or JSON with a list of such objects. Paths in a list are relative to the list.
        without_images: A list may have entries with a label only: training draws images from them.
        orientation: How the axes run in files that do not say so, unless a list says it for the case.

    Raises:
        UserError: Nothing usable is there; files named by the description are missing.
    """
    dataset = _load(data)
    where = data.parent if data.name == "dataset.json" else data
    if not dataset.cases:
        raise UserError(f"{where} holds no case with an image and a label.", "Check the names.", code="no-dataset")
    empty = [case.identifier for case in dataset.cases if not case.images]
    if empty and not without_images:
        raise UserError(
            f"{data} has {len(empty)} cases without an image, for example {empty[0]}.",
            "Give each case an image; only a training can draw images from labels.",
            code="bad-dataset",
        )
    _refuse_equal_names(dataset.cases, where)
    return replace(
        dataset, cases=tuple(replace(case, orientation=case.orientation or orientation) for case in dataset.cases)
    )


def is_dataset(data: Path) -> bool:
    """Whether `data` is a case list, a `dataset.json` or a folder with `imagesTr` and `labelsTr` or `dataset.json`."""
    return data.suffix.lower() in (".csv", ".json") if data.is_file() else describes_cases(data)


def _load(data: Path) -> Dataset:
    if data.is_dir():
        return _of_folder(data)
    if not data.is_file():
        raise UserError(f"{data} does not exist.", "Check the path.", code="not-found")
    if data.suffix.lower() in (".csv", ".tsv", ".txt"):
        return Dataset(tuple(cases_of_list(read_table(data), data)), {})
    content = read_json(data)
    if isinstance(content, list):
        return Dataset(tuple(cases_of_list(content, data)), {})
    return read_description(data)


def _of_folder(folder: Path) -> Dataset:
    if (folder / "dataset.json").is_file():
        return read_description(folder / "dataset.json")
    if describes_cases(folder):
        cases, flaws = pair_folders(folder / "imagesTr", folder / "labelsTr")
        return Dataset(tuple(cases), {}, flaws=tuple(flaws))
    cases, flaws = pair_beside(folder)
    if not cases:
        cases, flaws = pair_dicom(folder)
    if not cases:
        raise UserError(
            f"The folder {folder} holds neither dataset.json, nor imagesTr and labelsTr, nor scans with labels.",
            "Give such a folder (scans beside their labels: a.nii.gz with a.seg.nrrd or a_seg.nii.gz; DICOM series "
            "each beside its segmentation or contours), a dataset.json, or a case list (CSV or JSON)."
            + "".join(f" {flaw.message}" for flaw in flaws[:3]),
            code="no-dataset",
        )
    return Dataset(tuple(cases), {}, flaws=tuple(flaws))


def _refuse_equal_names(cases: Sequence[Case], where: Path) -> None:
    seen: set[str] = set()
    for case in cases:
        if case.identifier in seen:
            raise UserError(f"{where} has two cases named {case.identifier}.", "Give each its own id.", "bad-dataset")
        seen.add(case.identifier)
