"""Labels lie exactly on the image's grid in every format, and 3D Slicer reads the segmentations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import RecordingReporter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from volume_files import apart_mm, grid_of_itk, grids

from mimseg.data.images import image_of
from mimseg.data.labels.labelmaps import read_labelmap, read_segment_names, write_labelmap
from mimseg.data.labels.seg_nrrd import terminology_entry
from mimseg.data.labels.structures import Code, Label
from mimseg.data.volume import Grid
from mimseg.data.volumes import read_volume
from mimseg.errors import UserError
from mimseg.formats import LABELS_WRITTEN

OBLIQUE = Grid((7, 6, 5), (0.7, 1.1, 3.0), (-11.5, 20.25, 30.0), np.linalg.qr(np.arange(9.0).reshape(3, 3) ** 2)[0])
TABLE = (
    Label(
        1,
        "Anterior hippocämpus",
        (255, 0, 10),
        type=Code("SCT", "72654001", "Hippocampus"),
        modifier=Code("SCT", "7771000", "Left"),
    ),
    Label(300, "Something", (1, 128, 3)),
)


def some_labels(grid: Grid = OBLIQUE, high: int = 300) -> np.ndarray:
    labels = np.zeros(grid.size, np.uint16)
    labels[1:3, 1:, :2] = 1
    labels[4:, 2:4, 1:] = high
    return labels


@pytest.mark.parametrize("suffix", [ending for ending in LABELS_WRITTEN if ending != ".dcm"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(grid=grids(), seed=st.integers(0, 999), high=st.sampled_from([2, 255, 65535]))
def test_labels_and_grid_survive_the_file(tmp_path: Path, suffix: str, grid: Grid, seed: int, high: int) -> None:
    labels = np.random.default_rng(seed).choice([0, 1, high], grid.size)
    labels.flat[0] = high
    path = tmp_path / f"labels{suffix}"
    write_labelmap(path, labels, grid, TABLE)
    volume = read_labelmap(path, like=grid)
    assert np.array_equal(volume.array, labels)
    assert volume.array.dtype == (np.uint16 if high > 255 else np.uint8)
    read = read_labelmap(path).grid
    assert read.size == grid.size
    assert apart_mm(read, grid) < (2e-3 if suffix.startswith(".nii") else 1e-9)


@pytest.mark.parametrize("image_suffix", [".nii.gz", ".nrrd", ".mha"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(grid=grids())
def test_labels_in_the_format_of_the_image_have_exactly_its_geometry(
    tmp_path: Path, image_suffix: str, grid: Grid
) -> None:
    image = tmp_path / f"image{image_suffix}"
    sitk.WriteImage(image_of(np.zeros(grid.size, np.int16), grid), str(image))
    own = read_volume(image).grid
    path = tmp_path / f"labels{image_suffix}"
    write_labelmap(path, np.zeros(own.size, np.uint8), own)
    read = read_labelmap(path).grid
    assert read.size == own.size
    exact = 1e-5 if image_suffix == ".nii.gz" else 1e-14
    assert np.allclose(read.spacing, own.spacing, rtol=exact, atol=0)
    assert np.allclose(read.origin, own.origin, rtol=exact, atol=exact)
    assert np.allclose(read.direction, own.direction, rtol=0, atol=exact)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(grid=grids())
def test_nifti_labels_have_equal_qform_and_sform_for_other_programs(tmp_path: Path, grid: Grid) -> None:
    nibabel = pytest.importorskip("nibabel")
    write_labelmap(tmp_path / "l.nii.gz", np.ones(grid.size, np.uint8), grid)
    header = nibabel.load(tmp_path / "l.nii.gz").header
    (sform, sform_code), (qform, qform_code) = header.get_sform(coded=True), header.get_qform(coded=True)
    expected = np.diag([-1, -1, 1, 1]) @ grid.affine
    assert sform_code > 0
    assert qform_code > 0
    assert np.allclose(sform, expected, atol=1e-3)
    assert np.allclose(qform, expected, atol=1e-3)


def test_a_segmentation_names_its_segments(tmp_path: Path) -> None:
    write_labelmap(tmp_path / "s.seg.nrrd", some_labels(), OBLIQUE, TABLE)
    assert read_segment_names(tmp_path / "s.seg.nrrd") == {1: "Anterior hippocämpus", 300: "Something"}
    write_labelmap(tmp_path / "l.nii.gz", some_labels(), OBLIQUE, TABLE)
    assert read_segment_names(tmp_path / "l.nii.gz") == {}


def test_values_without_a_name_get_one(tmp_path: Path) -> None:
    write_labelmap(tmp_path / "s.seg.nrrd", some_labels(), OBLIQUE)
    assert read_segment_names(tmp_path / "s.seg.nrrd") == {1: "Label 1", 300: "Label 300"}


def test_a_terminology_entry_is_written_as_slicer_writes_it() -> None:
    assert terminology_entry(TABLE[0]) == (
        "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure"
        "~SCT^72654001^Hippocampus~SCT^7771000^Left~Anatomic codes - DICOM master list~^^~^^"
    )


def voxels_on(image: object, grid: Grid) -> np.ndarray:
    """Values of a vtkOrientedImageData on `grid`, carried over by way of RAS millimetres."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)  # type: ignore[attr-defined]
    ras = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
    first_i, last_i, first_j, last_j, first_k, last_k = image.GetExtent()  # type: ignore[attr-defined]
    values = np.zeros(grid.size, int)
    for index in np.ndindex(last_i - first_i + 1, last_j - first_j + 1, last_k - first_k + 1):
        voxel = np.add(index, [first_i, first_j, first_k])
        found = grid.to_index((ras @ [*voxel, 1.0])[np.newaxis, :3] * [-1, -1, 1])[0]
        assert np.allclose(found, np.rint(found), atol=1e-6)
        value = image.GetScalarComponentAsDouble(*(int(number) for number in voxel), 0)  # type: ignore[attr-defined]
        values[tuple(np.rint(found).astype(int))] = value
    return values


def test_slicer_loads_names_colours_codes_and_voxels(tmp_path: Path) -> None:
    slicer = pytest.importorskip("slicer_core", reason="the slicer-core wheel is not installed")
    vtk = pytest.importorskip("vtk")
    labels = some_labels()
    path = tmp_path / "für Slicer.seg.nrrd"
    write_labelmap(path, labels, OBLIQUE, TABLE)

    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == len(TABLE)
    for index, label in enumerate(TABLE):
        segment = segmentation.GetNthSegment(index)
        assert segment.GetName() == label.name
        assert segment.GetLabelValue() == label.value
        assert segment.GetColor() == pytest.approx(np.array(label.color) / 255, abs=1e-5)
        tag = vtk.reference("")
        assert segment.GetTag("TerminologyEntry", tag)
        assert str(tag) == terminology_entry(label)
        image = segment.GetRepresentation("Binary labelmap")
        assert np.array_equal(voxels_on(image, OBLIQUE) == label.value, labels == label.value)
    assert segmentation.GetConversionParameter("Reference image geometry").endswith(";0;6;0;5;0;4;")

    written = tmp_path / "by Slicer.seg.nrrd"
    storage.SetFileName(str(written))
    assert storage.WriteData(node)
    assert np.array_equal(read_labelmap(written, OBLIQUE).array, labels)
    assert read_segment_names(written) == {label.value: label.name for label in TABLE}


def write_layers(path: Path, layers: list[np.ndarray], segments: list[dict[str, str]], grid: Grid = OBLIQUE) -> None:
    """A `.seg.nrrd` as 3D Slicer writes it when segments overlap: one component for each layer."""
    image = sitk.Compose([image_of(layer, grid) for layer in layers]) if len(layers) > 1 else image_of(layers[0], grid)
    for index, segment in enumerate(segments):
        for key, value in segment.items():
            image.SetMetaData(f"Segment{index}_{key}", value)
    sitk.WriteImage(image, str(path), True)


def test_overlapping_layers_are_merged_and_the_overlap_reported(tmp_path: Path) -> None:
    first, second = np.zeros((2, *OBLIQUE.size), np.uint8)
    first[1:4, 1:4, 1:4] = 1
    second[3:5, 1:4, 1:4] = 1
    segments = [
        {"ID": "a", "Name": "organ", "Layer": "0", "LabelValue": "1"},
        {"ID": "b", "Name": "lesion", "Layer": "1", "LabelValue": "1"},
    ]
    write_layers(tmp_path / "s.seg.nrrd", [first, second], segments)
    reporter = RecordingReporter()
    labels = read_labelmap(tmp_path / "s.seg.nrrd", OBLIQUE, reporter).array
    assert np.array_equal(labels, np.where(second, 2, first))
    assert reporter.codes == ["overlap"]
    assert "9 voxels" in reporter.warnings[0][1]
    assert read_segment_names(tmp_path / "s.seg.nrrd") == {1: "organ", 2: "lesion"}


def test_old_segmentations_without_layer_and_value_are_read(tmp_path: Path) -> None:
    first, second = np.zeros((2, *OBLIQUE.size), np.uint8)
    first[0], second[2] = 1, 1
    write_layers(tmp_path / "old.seg.nrrd", [first, second], [{"ID": "a", "Name": "a"}, {"ID": "b", "Name": "b"}])
    assert np.array_equal(read_labelmap(tmp_path / "old.seg.nrrd", OBLIQUE).array, first + 2 * second)


def test_a_cropped_segmentation_is_put_in_its_place(tmp_path: Path) -> None:
    labels = np.zeros(OBLIQUE.size, np.uint8)
    labels[2:5, 1:4, 2:4] = 1
    part = sitk.RegionOfInterest(image_of(labels, OBLIQUE), [4, 4, 3], [1, 1, 1])
    write_layers(
        tmp_path / "crop.seg.nrrd",
        [sitk.GetArrayFromImage(part).T],
        [{"ID": "a", "Name": "a", "Layer": "0", "LabelValue": "1"}],
        grid_of_itk(part),
    )
    assert np.array_equal(read_labelmap(tmp_path / "crop.seg.nrrd", OBLIQUE).array, labels)


def test_labels_on_another_grid_are_refused(tmp_path: Path) -> None:
    write_labelmap(tmp_path / "l.nii.gz", some_labels(), OBLIQUE)
    for other in (
        Grid(OBLIQUE.size, OBLIQUE.spacing, (-11.5, 20.25, 31.0), OBLIQUE.direction),
        Grid(OBLIQUE.size, (0.7, 1.1, 3.1), OBLIQUE.origin, OBLIQUE.direction),
        Grid(OBLIQUE.size, OBLIQUE.spacing, OBLIQUE.origin, OBLIQUE.direction * [-1, 1, 1]),
        Grid((7, 6, 6), OBLIQUE.spacing, OBLIQUE.origin, OBLIQUE.direction),
    ):
        with pytest.raises(UserError) as caught:
            read_labelmap(tmp_path / "l.nii.gz", other)
        assert caught.value.code == "grid-mismatch"
        assert "l.nii.gz" in caught.value.message


def test_whole_numbers_stored_as_float_are_labels(tmp_path: Path) -> None:
    sitk.WriteImage(image_of(some_labels().astype(np.float32), OBLIQUE), str(tmp_path / "f.nii.gz"))
    assert np.array_equal(read_labelmap(tmp_path / "f.nii.gz", OBLIQUE).array, some_labels())


@pytest.mark.parametrize("wrong", [0.5, -1.0, 70000.0, float("nan")])
def test_other_numbers_are_no_labels(tmp_path: Path, wrong: float) -> None:
    array = some_labels().astype(np.float32)
    array[0, 0, 0] = wrong
    sitk.WriteImage(image_of(array, OBLIQUE), str(tmp_path / "f.nii.gz"))
    with pytest.raises(UserError) as caught:
        read_labelmap(tmp_path / "f.nii.gz")
    assert caught.value.code == "not-a-labelmap"


def test_labels_of_four_axes_or_in_colour_are_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.Image([4, 5, 6, 2], sitk.sitkUInt8), str(tmp_path / "4d.nii.gz"))
    sitk.WriteImage(sitk.Image([4, 5, 6], sitk.sitkVectorUInt8, 3), str(tmp_path / "rgb.nrrd"))
    for name, code in (("4d.nii.gz", "not-3d"), ("rgb.nrrd", "not-scalar")):
        with pytest.raises(UserError) as caught:
            read_labelmap(tmp_path / name)
        assert caught.value.code == code


def test_an_unknown_ending_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        write_labelmap(tmp_path / "labels.png", some_labels(), OBLIQUE)
    assert caught.value.code == "unsupported-format"
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "l.nrrd"
    write_labelmap(path, some_labels(), OBLIQUE)
    before = path.read_bytes()

    def fail(image: sitk.Image, name: str, **options: object) -> None:
        Path(name).write_bytes(before[:50])
        raise RuntimeError("sitk::ERROR: No space left on device")

    monkeypatch.setattr(sitk, "WriteImage", fail)
    with pytest.raises(UserError) as caught:
        write_labelmap(path, some_labels(), OBLIQUE)
    assert caught.value.code == "cannot-write"
    assert "No space left" in caught.value.message
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_labelmap(tmp_path / "a" / "b" / "l.nii.gz", some_labels(), OBLIQUE)
    assert (tmp_path / "a" / "b" / "l.nii.gz").is_file()


@pytest.mark.parametrize(
    ("step", "codes"), [(1e-5, []), (0.01, ["beside-image"]), (0.06, ["beside-image"]), (0.1, None), (2.0, None)]
)
def test_labels_a_little_beside_their_image_count_as_on_it(
    tmp_path: Path, step: float, codes: list[str] | None
) -> None:
    """The smallest voxel edge is 0.7 mm: up to 0.07 mm are taken."""
    grid = Grid(OBLIQUE.size, (0.7, 1.1, 3.0), (0.0, 0.0, 0.0))
    beside = Grid(grid.size, grid.spacing, (step, 0.0, 0.0))
    write_labelmap(tmp_path / "l.nrrd", some_labels(grid), beside)
    reporter = RecordingReporter()
    if codes is None:
        with pytest.raises(UserError) as caught:
            read_labelmap(tmp_path / "l.nrrd", grid, reporter)
        assert caught.value.code == "grid-mismatch"
        return
    volume = read_labelmap(tmp_path / "l.nrrd", grid, reporter)
    assert volume.grid is grid
    assert np.array_equal(volume.array, some_labels(grid))
    assert reporter.codes == codes


def test_labels_saved_by_the_other_transform_of_their_image_are_taken(tmp_path: Path) -> None:
    """As nibabel does, which keeps the sform only."""
    nibabel = pytest.importorskip("nibabel")
    labels = some_labels().astype(np.uint8)
    image = nibabel.Nifti1Image(labels, None)
    image.header.set_qform(np.diag([1, 1, 1, 1]), 1)
    sform = np.diag([1.0, 1, 1, 1])
    sform[:3, 3] = 4, 5, 6
    image.header.set_sform(sform, 2)
    nibabel.save(image, tmp_path / "image.nii.gz")
    nibabel.save(nibabel.Nifti1Image(labels, sform), tmp_path / "labels.nii.gz")
    grid = read_volume(tmp_path / "image.nii.gz").grid
    reporter = RecordingReporter()
    assert np.array_equal(read_labelmap(tmp_path / "labels.nii.gz", grid, reporter).array, labels)
    assert reporter.codes == ["other-transform"]
    sform[0, 3] = 9
    nibabel.save(nibabel.Nifti1Image(labels, sform), tmp_path / "labels.nii.gz")
    with pytest.raises(UserError) as caught:
        read_labelmap(tmp_path / "labels.nii.gz", grid)
    assert caught.value.code == "grid-mismatch"
