"""`mimseg segment` from a file to a file."""

import numpy as np
import pytest
import SimpleITK as sitk
from segment_tools import OBLIQUE, Recorder, settings_for, write_scan
from tiny_model import LABELS, write_tiny_bundle

from mimseg.bundle.reader import open_bundle
from mimseg.commands.segment import run as segment_task
from mimseg.commands.segment.cases import choose_structures
from mimseg.commands.segment.run import segment
from mimseg.commands.segment.volume_table import measure
from mimseg.data.intensity import Intensity
from mimseg.data.labels.labelmaps import read_labelmap, read_segment_names
from mimseg.data.preprocessing import Preprocessing
from mimseg.data.volume import Grid
from mimseg.data.volumes import read_volume
from mimseg.errors import OutOfMemory, Stopped, UserError
from mimseg.inference import engines
from mimseg.inference.known_volumes import ENTRY, known_volumes


@pytest.fixture
def model(tmp_path):
    return write_tiny_bundle(tmp_path / "tiny")


@pytest.fixture
def sharp_model(tmp_path):
    """A model that keeps the scan's own spacing, so that its labels can be told to the voxel."""
    return write_tiny_bundle(tmp_path / "sharp", Preprocessing("RAS", None, Intensity("window", 0, 100)))


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha", ".seg.nrrd"])
def test_the_result_lies_exactly_on_an_oblique_anisotropic_scan(tmp_path, model, ending):
    expected, scan = write_scan(tmp_path / "scan.nrrd")
    output = tmp_path / f"labels{ending}"
    segment(settings_for(model, tmp_path / "scan.nrrd", output))
    result = sitk.ReadImage(str(output))
    assert result.GetSize() == scan.GetSize()
    precision = 1e-5 if ending == ".nii.gz" else 1e-12
    for name in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert np.allclose(getattr(result, name)(), getattr(scan, name)(), rtol=0, atol=precision)
    labels = read_labelmap(output, read_volume(tmp_path / "scan.nrrd").grid).array
    assert set(np.unique(labels)) == {0, 3, 7}
    for value in (3, 7):
        both = 2 * ((labels == value) & (expected == value)).sum()
        assert both / ((labels == value).sum() + (expected == value).sum()) > 0.75


def test_without_resampling_the_labels_are_right_to_the_voxel(tmp_path, sharp_model):
    expected, _ = write_scan(tmp_path / "scan.mha")
    segment(settings_for(sharp_model, tmp_path / "scan.mha", tmp_path / "labels.nrrd"))
    assert np.array_equal(read_labelmap(tmp_path / "labels.nrrd").array, expected)


def test_a_segmentation_carries_the_names_of_the_structures(tmp_path, model):
    write_scan(tmp_path / "scan.nrrd")
    segment(settings_for(model, tmp_path / "scan.nrrd", tmp_path / "out.seg.nrrd"))
    assert read_segment_names(tmp_path / "out.seg.nrrd") == {3: "Grey", 7: "Bright"}


def test_only_the_chosen_structures_are_kept(tmp_path, sharp_model):
    expected, _ = write_scan(tmp_path / "scan.nrrd")
    (result,) = segment(settings_for(sharp_model, tmp_path / "scan.nrrd", tmp_path / "labels.nrrd", labels=("bright",)))
    labels = read_labelmap(tmp_path / "labels.nrrd").array
    assert np.array_equal(labels, np.where(expected == 7, 7, 0))
    assert [row.label for row in result.volumes] == ["Bright"]


def test_an_unknown_structure_is_refused_with_the_list_of_those_there_are(model):
    with pytest.raises(UserError, match=r"'liver'.*Grey, Bright"):
        choose_structures(open_bundle(model).description, ("liver", "grey"))


def test_a_region_limits_the_result_and_regions_add_up(tmp_path, sharp_model):
    expected, _ = write_scan(tmp_path / "scan.nrrd", direction=np.eye(3))
    grid = read_volume(tmp_path / "scan.nrrd").grid

    def bounds(start, stop):
        corners = grid.to_point(np.array([start, stop], float) - 0.5) * [-1, -1, 1]
        return tuple(np.sort(corners, axis=0).T.ravel())

    one, other = ((3, 2, 1), (9, 10, 6)), ((8, 3, 2), (20, 9, 9))
    segment(
        settings_for(sharp_model, tmp_path / "scan.nrrd", tmp_path / "a.nrrd", regions=(bounds(*one), bounds(*other)))
    )
    inside = np.zeros(expected.shape, bool)
    for start, stop in (one, other):
        inside[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    labels = read_labelmap(tmp_path / "a.nrrd").array
    assert np.array_equal(labels, np.where(inside, expected, 0))
    assert 0 < (labels != 0).sum() < (expected != 0).sum()


def test_a_turned_region_is_segmented_and_measured_to_its_own_faces(tmp_path, sharp_model):
    """A box along RAS in an oblique scan."""
    expected, _ = write_scan(tmp_path / "scan.nrrd")
    grid = read_volume(tmp_path / "scan.nrrd").grid
    centre = grid.to_point(np.array([[8.0, 8.0, 4.0]]))[0] * [-1, -1, 1]
    bounds = tuple(value for c in centre for value in (c - 5, c + 5))
    (result,) = segment(settings_for(sharp_model, tmp_path / "scan.nrrd", tmp_path / "a.nrrd", regions=(bounds,)))
    points = grid.to_point(np.argwhere(expected >= 0).astype(float)) * [-1, -1, 1]
    inside = (np.abs(points - centre) <= 5).all(axis=1).reshape(grid.size)
    labels = read_labelmap(tmp_path / "a.nrrd").array
    assert np.array_equal(labels, np.where(inside, expected, 0))
    assert [row.voxels for row in result.volumes] == [((expected == value) & inside).sum() for value in (3, 7)]
    assert labels.any()


def test_a_model_of_two_channels_takes_its_files_in_pairs(tmp_path):
    preprocessing = Preprocessing("RAS", None, Intensity("window", 0, 100))
    model = write_tiny_bundle(tmp_path / "two", preprocessing, channels=("T1", "T2"))
    expected, _ = write_scan(tmp_path / "t1.nrrd")
    write_scan(tmp_path / "t2.nrrd")
    pair = (tmp_path / "t1.nrrd", tmp_path / "t2.nrrd")
    segment(settings_for(model, pair, tmp_path / "labels.nrrd"))
    assert np.array_equal(read_labelmap(tmp_path / "labels.nrrd").array, expected)
    with pytest.raises(UserError, match="2 files for each case, but 3"):
        segment(settings_for(model, (*pair, tmp_path / "t1.nrrd"), tmp_path / "out"))


def test_events_tell_engine_phases_and_volumes(tmp_path, sharp_model):
    expected, _ = write_scan(tmp_path / "scan.nrrd")
    recorder = Recorder()
    segment(settings_for(sharp_model, tmp_path / "scan.nrrd", tmp_path / "labels.nrrd"), recorder)
    assert recorder.events[0] == (
        "start",
        "segment",
        {"model": "tiny", "version": "1.0.0", "engine": "openvino", "device": "cpu"},
    )
    phases = [event[1] for event in recorder.events if event[0] == "progress" and event[2] == event[3]]
    assert phases == ["read", "segment", "write"]
    (output,) = recorder.events[-1][1]["outputs"]
    assert output["output"] == str(tmp_path / "labels.nrrd")
    assert output["volumes"][0]["voxels"] == (expected == 3).sum()
    assert output["volumes"][0]["ml"] == pytest.approx((expected == 3).sum() * 0.9 * 1.1 * 3.0 / 1000, rel=1e-3)


def test_a_scan_far_larger_than_the_training_volumes_is_warned_of_unless_a_region_is_given(tmp_path):
    model = write_tiny_bundle(tmp_path / "small", field_of_view_mm=(8.0, 9.0, 7.0))
    write_scan(tmp_path / "scan.nrrd")
    recorder = Recorder()
    segment(settings_for(model, tmp_path / "scan.nrrd", tmp_path / "a.nrrd"), recorder)
    assert "field-of-view" in recorder.warnings
    recorder = Recorder()
    everything = (-500.0, 500.0) * 3
    segment(settings_for(model, tmp_path / "scan.nrrd", tmp_path / "b.nrrd", regions=(everything,)), recorder)
    assert "field-of-view" not in recorder.warnings


@pytest.mark.parametrize(
    ("modality", "low", "warned"), [("CT", 0, 1), ("CT", -1000, 0), ("MR", -1000, 1), ("MR", 0, 0)]
)
def test_a_scan_of_the_wrong_modality_is_warned_of(tmp_path, modality, low, warned):
    model = write_tiny_bundle(tmp_path / "model", modality=modality)
    write_scan(tmp_path / "scan.nrrd", low=low)
    recorder = Recorder()
    segment(settings_for(model, tmp_path / "scan.nrrd", tmp_path / "a.nrrd"), recorder)
    assert recorder.warnings.count("modality") == warned


@pytest.mark.parametrize(
    ("modality", "kind", "shift", "refused"),
    [("CT", "window", 1024, True), ("CT", "window", 0, False), ("CT", "window", -1000, False),
     ("CT", "zscore", 1024, False), ("MR", "window", 1024, False)],
)  # fmt: skip
def test_ct_that_was_shifted_is_refused_instead_of_painted(tmp_path, modality, kind, shift, refused):
    """Of a body at 974 to 1124 a window of -125 to 275 sees one grey."""
    intensity = Intensity("window", -125, 275) if kind == "window" else Intensity(kind)
    model = write_tiny_bundle(
        tmp_path / "model", preprocessing=Preprocessing(intensity=intensity), modality=modality
    )  # fmt: skip
    write_scan(tmp_path / "scan.nrrd", low=-50)
    image = sitk.ReadImage(str(tmp_path / "scan.nrrd")) + shift
    sitk.WriteImage(image, str(tmp_path / "scan.nrrd"))
    settings = settings_for(model, tmp_path / "scan.nrrd", tmp_path / "a.nrrd")
    if not refused:
        segment(settings, Recorder())
        return
    with pytest.raises(UserError) as refusal:
        segment(settings, Recorder())
    assert refusal.value.code == "not-hounsfield"
    assert not (tmp_path / "a.nrrd").exists()


@pytest.mark.parametrize(
    ("knows_volumes", "boxed", "low", "refused"),
    [(True, False, 0, True), (True, False, -20, True), (True, True, 0, False), (False, False, 0, False)],
)
def test_a_model_of_whole_bodies_in_hounsfield_units_takes_no_scan_without_air(
    tmp_path, knows_volumes, boxed, low, refused
):
    """MR of a head, of which little is brighter than a body in CT; resampled, it falls a little below 0."""
    record = {ENTRY: {LABELS[0].name: {"least": 0.1, "largest": 9.0}}} if knows_volumes else {}
    model = write_tiny_bundle(
        tmp_path / "model", preprocessing=Preprocessing(intensity=Intensity("window", -125, 275)), training=record,
        modality="CT",
    )  # fmt: skip
    assert bool(known_volumes(open_bundle(model).description)) == knows_volumes
    write_scan(tmp_path / "scan.nrrd", low=low)
    more = {"regions": ((-500.0, 500.0) * 3,)} if boxed else {}
    settings, recorder = settings_for(model, tmp_path / "scan.nrrd", tmp_path / "a.nrrd", **more), Recorder()
    if not refused:
        segment(settings, recorder)
        assert "modality" in recorder.warnings
        return
    with pytest.raises(UserError, match="hardly a value below -50") as refusal:
        segment(settings, recorder)
    assert refusal.value.code == "not-hounsfield"


def test_a_failure_leaves_no_file_behind(tmp_path, sharp_model, monkeypatch):
    write_scan(tmp_path / "scan.nrrd")

    def break_off(*arguments, **options):
        raise Stopped

    monkeypatch.setattr(segment_task, "segment_volume", break_off)
    with pytest.raises(Stopped):
        segment(settings_for(sharp_model, tmp_path / "scan.nrrd", tmp_path / "out" / "labels.nrrd"))
    assert not (tmp_path / "out").exists()


def test_a_gpu_without_memory_hands_over_to_the_cpu(tmp_path, sharp_model, monkeypatch):
    expected, _ = write_scan(tmp_path / "scan.nrrd")

    class SmallGpu:
        name, device = "torch", "cuda"

        def __call__(self, batch):
            raise OutOfMemory("The memory of cuda does not suffice.", code="gpu-out-of-memory")

    loaded = [SmallGpu()]
    real = engines.open_engine
    monkeypatch.setattr(segment_task, "open_engine", lambda *a: loaded.pop() if loaded else real(*a))
    recorder = Recorder()
    segment(settings_for(sharp_model, tmp_path / "scan.nrrd", tmp_path / "labels.nrrd"), recorder)
    assert recorder.warnings == ["gpu-out-of-memory"]
    assert np.array_equal(read_labelmap(tmp_path / "labels.nrrd").array, expected)


def test_memory_that_runs_out_is_an_error_with_a_remedy(tmp_path, sharp_model, monkeypatch):
    write_scan(tmp_path / "scan.nrrd")

    def run_out(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr("mimseg.inference.pipeline.prepare", run_out)
    with pytest.raises(OutOfMemory, match=r"22x18x9 voxels with 2 structures.*--roi"):
        segment(settings_for(sharp_model, tmp_path / "scan.nrrd", tmp_path / "labels.nrrd"))


def test_the_volume_of_an_oblique_voxel_is_the_product_of_its_edges():
    grid = Grid((2, 3, 4), (0.5, 2.0, 3.0), direction=OBLIQUE)
    labels = np.full((2, 3, 4), 7, np.uint8)
    labels[0] = 9
    (row,) = measure(labels, grid, [label for label in LABELS if label.value == 7])
    assert (row.voxels, round(row.ml, 9)) == (12, 0.036)
