"""Every difficult real file either gets its right geometry and keeps it in the labels, or is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import RecordingReporter

from mimseg.data.labels.labelmaps import read_labelmap, write_labelmap
from mimseg.data.volumes import read_volume
from mimseg.errors import UserError

pytestmark = pytest.mark.shared_data

SINGLE = "dicom/pydicom_single"

# path, frame -> size, spacing in mm, origin in LPS mm, lowest and highest value, warnings
READ = {
    ("odd/nibabel_anatomical.nii", None): ((33, 41, 25), (2, 2, 2), (-32, 40, -16), (-610, 30393), []),
    ("odd/nibabel_example4d.nii.gz", 1): (
        (128, 96, 24), (2, 2, 2.2), (-117.8551, 35.7229, -7.2488), None, [],
    ),
    ("odd/nibabel_example_nifti2.nii.gz", 1): (
        (32, 20, 12), (2, 2, 2.2), (-117.8551, 35.7229, -7.2488), None, [],
    ),
    ("odd/nibabel_someones_anatomy.nii.gz", None): (
        (57, 67, 56), (2.75, 2.75, 2.75), (78, 91, -91), (6.678364, 96.55542), [],
    ),
    ("odd/sct_nan_tsnr.nii.gz", None): (
        (68, 68, 6), (0.9559, 0.9559, 16.8), (-29.9549, 34.5494, -23.8665), (0, 28.457256), ["non-finite"],
    ),
    ("odd/gc_image10x10x10.mha", None): ((10, 10, 10), (1, 1, 1), (0, 0, 0), (8.34119e-05, 0.9991854), []),
    ("odd/itk_pd3/BrainProtonDensity3Slices.mha", None): (
        (181, 217, 3), (1, 1, 1), (0, 0, 0), (0, 250), ["no-orientation"],
    ),
    ("odd/label_other_grid_heart.nii.gz", None): (
        (233, 167, 191), (1.5, 1.5, 1.5), (-179.6582, -275.1582, 540.2), (0, 1), [],
    ),
    ("dicom/ct_slicer_head64", None): ((64, 64, 93), (3.2, 3.2, 1.5), (0, 0, 0), (0, 3926), []),
    ("dicom/ct_totalseg_j2k", None): (
        (512, 512, 20), (0.9765625, 0.9765625, 2), (-249.5117, -437.5117, -804.5), (-1024, 1839), [],
    ),
    ("dicom/ct_totalseg_j2k_labels.nii.gz", None): (
        (512, 512, 20), (0.9765625, 0.9765625, 2), (-249.5117, 61.5117, -804.5), (0, 117), [],
    ),
    ("dicom/ct_philips_phantom_flat", None): (
        (512, 512, 12), (0.451172, 0.451172, 5), (-115.5, -1.85, 736.21), (-1024, 782), [],
    ),
    # 15 steps of 2.5 mm along z, 18.5 degrees tilted: 2.371 mm apart, 11.9 mm (25 pixels) shifted in all.
    ("dicom/ct_philips_phantom_tilt", None): (
        (512, 537, 16), (0.482422, 0.482422, 2.3708), (-123.5, -27.0783, 791.1721), None, ["gantry-tilt"],
    ),
}  # fmt: skip

# path -> code, and words of the message
REFUSED = {
    "odd/nibabel_example4d.nii.gz": ("needs-frame", "holds 2 volumes"),
    "odd/nibabel_example_nifti2.nii.gz": ("needs-frame", "holds 2 volumes"),
    "odd/sct_huge_values_5d.nii.gz": ("not-scalar", "3 numbers in each voxel"),
    "odd/gc_1x2int16.mha": ("not-3d", "flat picture (1x2)"),
    "odd/itk_pd3/BrainProtonDensity3Slices.raw": ("unsupported-format", "not supported"),
    "odd/itk_pd3": ("no-dicom", "no DICOM series"),
    # Anonymisation replaced the SOP Class UID by one that no standard knows; see test_dicom.py for the repaired ones.
    "dicom/ct_gc_4d_tiny": ("unreadable", "unknown kind"),
    "dicom/ct_gc_rescale_varies": ("no-dicom", "holds no DICOM files"),
    "dicom/ct_gc_rescale_varies/dicom_intercept": ("unreadable", "unknown kind"),
    "dicom/ct_gc_rescale_varies/dicom_slope": ("unreadable", "unknown kind"),
    SINGLE: ("dicom-several-series", "3 DICOM series"),
    f"{SINGLE}/CT_small.dcm": ("dicom-single-file", "one slice"),
    f"{SINGLE}/J2K_pixelrep_mismatch.dcm": ("dicom-single-file", "one slice"),
    f"{SINGLE}/MR_small.dcm": ("dicom-single-file", "one slice"),
    f"{SINGLE}/MR_small_RLE.dcm": ("dicom-single-file", "one slice"),
    f"{SINGLE}/MR_small_bigendian.dcm": ("dicom-single-file", "one slice"),
    f"{SINGLE}/MR_small_implicit.dcm": ("dicom-single-file", "one slice"),
    f"{SINGLE}/MR_small_jp2klossless.dcm": ("dicom-single-file", "one slice"),
    f"{SINGLE}/MR_small_jpeg_ls_lossless.dcm": ("dicom-single-file", "one slice"),
    f"{SINGLE}/MR_small_padded.dcm": ("dicom-single-file", "one slice"),
    f"{SINGLE}/MR_truncated.dcm": ("dicom-single-file", "one slice"),
    f"{SINGLE}/no_meta.dcm": ("unreadable", "damaged"),
    f"{SINGLE}/meta_missing_tsyntax.dcm": ("unreadable", "unknown kind"),
    f"{SINGLE}/badVR.dcm": ("dicom-not-an-image", "an RT dose"),
    f"{SINGLE}/rtdose_1frame.dcm": ("dicom-not-an-image", "an RT dose"),
    f"{SINGLE}/rtstruct.dcm": ("dicom-not-an-image", "an RT structure set"),
    f"{SINGLE}/liver_1frame.dcm": ("dicom-not-an-image", "a DICOM segmentation"),
}


def test_the_tables_name_every_file_and_folder(shared_data: Path) -> None:
    found = set((shared_data / "odd").rglob("*"))
    found |= {path for path in (shared_data / "dicom").rglob("*") if path.is_dir()}
    found |= {path for path in (shared_data / "dicom").iterdir() if path.is_file()}
    found |= set((shared_data / SINGLE).iterdir())
    named = {shared_data / path for path, _ in READ} | {shared_data / path for path in REFUSED}
    assert found == named


@pytest.mark.parametrize(("path", "frame"), READ, ids=lambda value: str(value))
def test_a_readable_input_has_its_true_geometry_and_labels_keep_it(
    shared_data: Path, tmp_path: Path, path: str, frame: int | None
) -> None:
    size, spacing, origin, values, warnings = READ[path, frame]
    reporter = RecordingReporter()
    volume = read_volume(shared_data / path, frame, reporter)
    assert volume.grid.size == volume.array.shape == size
    assert volume.grid.spacing == pytest.approx(spacing, abs=1e-4)
    assert volume.grid.origin == pytest.approx(origin, abs=1e-3)
    assert reporter.codes == warnings
    assert np.isfinite(volume.array).all()
    if values:
        assert (volume.array.min(), volume.array.max()) == pytest.approx(values)

    labels = (volume.array > volume.array.mean()).astype(np.uint8)
    write_labelmap(tmp_path / "labels.nii.gz", labels, volume.grid)
    assert np.array_equal(read_labelmap(tmp_path / "labels.nii.gz", volume.grid).array, labels)


@pytest.mark.parametrize("path", REFUSED)
def test_any_other_input_is_refused_with_words_and_a_remedy(shared_data: Path, path: str) -> None:
    code, words = REFUSED[path]
    with pytest.raises(UserError) as caught:
        read_volume(shared_data / path)
    assert caught.value.code == code
    assert words in caught.value.message
    assert Path(path).name in caught.value.message
    assert len(caught.value.hint) > 15
    assert "Traceback" not in str(caught.value)
    assert "ITK ERROR" not in str(caught.value)


def test_the_label_on_another_grid_is_refused_for_its_scan(shared_data: Path) -> None:
    scan = read_volume(shared_data / "ct/ts_pulmonary/ct.nii.gz")
    with pytest.raises(UserError) as caught:
        read_labelmap(shared_data / "odd/label_other_grid_heart.nii.gz", scan.grid)
    assert caught.value.code == "grid-mismatch"
    assert "233x167x191" in caught.value.message
    assert "122x102x112" in caught.value.message


def test_the_labels_beside_the_jpeg_2000_series_lie_on_its_bones(shared_data: Path) -> None:
    """The label file has its rows the other way round: in millimetres both must agree."""
    scan = read_volume(shared_data / "dicom/ct_totalseg_j2k")
    labels = read_labelmap(shared_data / "dicom/ct_totalseg_j2k_labels.nii.gz")
    inside = np.argwhere(np.isin(labels.array, range(26, 51)))  # vertebrae in TotalSegmentator's numbering
    indices = np.rint(scan.grid.to_index(labels.grid.to_point(inside))).astype(int)
    assert indices.min() >= 0
    assert (indices < scan.grid.size).all()
    assert scan.array[tuple(indices.T)].mean() > 120
