"""Makes the files that the documents' commands name, small and real: pieces of the demo volume with their labels.

`python playground.py FOLDER LABELS.nii.gz`; LABELS is the demo volume's segmentation. Needs NumPy and
SimpleITK, which come with mimseg, and not mimseg itself.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

DEMO = Path(__file__).resolve().parents[2] / "Resources" / "SampleData" / "MNI152_T1.nii.gz"
# Where pieces of SIZE begin, in voxels of the demo volume: around its left and its right hippocampus.
BEGINNINGS = [(x + shift, 92 + shift, 35) for shift in (0, -2, 2, -1, 1) for x in (112, 48)]
SIZE = (36, 52, 36)


def main(folder: Path, labels_file: Path) -> None:
    """Write everything."""
    scan, labels = sitk.ReadImage(str(DEMO)), sitk.ReadImage(str(labels_file))
    shutil.copy(DEMO, folder / "scan.nii.gz")
    pieces = [(scan[_box(start)], labels[_box(start)]) for start in BEGINNINGS]
    for name in ("imagesTr", "labelsTr"):
        for parent in ("my-data", "Task04_Hippocampus"):
            (folder / parent / name).mkdir(parents=True)
    (folder / "my-scans").mkdir()
    training, rows = [], []
    for number, (image, label) in enumerate(pieces, start=1):
        name = f"hippocampus_{number:03d}.nii.gz"
        image = _noisy(image, number)
        for parent in ("my-data", "Task04_Hippocampus"):
            sitk.WriteImage(image, str(folder / parent / "imagesTr" / name))
            sitk.WriteImage(label, str(folder / parent / "labelsTr" / name))
        sitk.WriteImage(_noisy(image, number + 10), str(folder / "my-scans" / f"scan-{number}.nii.gz"))
        training.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
        rows.append({"image": f"my-data/imagesTr/{name}", "label": f"my-data/labelsTr/{name}", "subject": number})
    described = {"labels": {"0": "background", "1": "Anterior", "2": "Posterior"}, "modality": {"0": "MRI"}}
    text = json.dumps({**described, "training": training})
    for parent in ("my-data", "Task04_Hippocampus"):
        (folder / parent / "dataset.json").write_text(text, encoding="utf-8")
    with open(folder / "cases.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["image", "label", "subject"])
        writer.writeheader()
        writer.writerows(rows)
    sitk.WriteImage(pieces[0][0], str(folder / "new-scan.nii.gz"))
    sitk.WriteImage(pieces[1][0], str(folder / "other.nrrd"))
    _write_dicom(folder / "dicom-folder", pieces[2][0])
    (folder / "references").mkdir()
    sitk.WriteImage(pieces[1][1], str(folder / "references" / "other.nii.gz"))
    sitk.WriteImage(pieces[2][1], str(folder / "references" / "dicom-folder.nii.gz"))


def _box(start: tuple[int, int, int]) -> tuple[slice, ...]:
    return tuple(slice(first, first + length) for first, length in zip(start, SIZE, strict=True))


def _noisy(image: sitk.Image, seed: int) -> sitk.Image:
    """The same with noise, so that no two files are equal; `(k, j, i)` inside."""
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    array += np.random.default_rng(seed).normal(0, 2, array.shape).astype(np.float32)
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(image)
    return result


def _write_dicom(folder: Path, image: sitk.Image) -> None:
    folder.mkdir()
    image = sitk.Cast(image, sitk.sitkInt16)
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.KeepOriginalImageUIDOn()
    direction = image.GetDirection()
    for number in range(image.GetSize()[2]):
        piece = image[:, :, number : number + 1]
        tags = {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
            "0008|0018": f"1.2.826.0.1.3680043.8.498.7.{number + 1}",
            "0008|0060": "MR",
            "0020|000d": "1.2.826.0.1.3680043.8.498.9",
            "0020|000e": "1.2.826.0.1.3680043.8.498.7",
            "0020|0013": str(number + 1),
            "0020|0032": "\\".join(map(str, piece.GetOrigin())),
            "0020|0037": "\\".join(str(direction[index]) for index in (0, 3, 6, 1, 4, 7)),
        }
        for key, value in tags.items():
            piece.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"slice-{number + 1:03d}.dcm"))
        writer.Execute(piece)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
