"""`mimseg segment` from files to files, in this process and as a process of its own."""

import csv
import json
import shutil
import subprocess
import sys
import zlib
from importlib import resources

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk
from tiny_model import LABELS, write_tiny_bundle

from mimseg.bundle.description import Description
from mimseg.bundle.reader import open_bundle
from mimseg.cli.main import main
from mimseg.cli.segment import parse_region
from mimseg.data.intensity import Intensity
from mimseg.data.labelmaps import read_labelmap, read_segment_names
from mimseg.data.preprocessing import Preprocessing
from mimseg.data.volume import Grid
from mimseg.data.volumes import read_volume
from mimseg.errors import OutOfMemory, Stopped, UserError
from mimseg.events import Reporter
from mimseg.inference import engine as engines
from mimseg.inference import preview
from mimseg.inference.png import encode_png
from mimseg.memory import is_out_of_memory, memory_errors_named
from mimseg.networks.settings import NetworkSettings
from mimseg.tasks import segment as segment_task
from mimseg.tasks.segment import SegmentSettings, choose_labels, segment
from mimseg.tasks.segment_outputs import plan_jobs
from mimseg.tasks.volume_table import measure

OBLIQUE = np.array([[0.9, -0.42, 0.1], [0.41, 0.9, 0.15], [-0.15, -0.09, 0.98]])
OBLIQUE = np.linalg.svd(OBLIQUE)[0] @ np.linalg.svd(OBLIQUE)[2]


class Recorder(Reporter):
    def __init__(self):
        self.events = []

    def start(self, command, **fields):
        self.events.append(("start", command, fields))

    def progress(self, phase, done, total):
        self.events.append(("progress", phase, done, total))

    def warning(self, code, message):
        self.events.append(("warning", code, message))

    def result(self, **fields):
        self.events.append(("result", fields))

    @property
    def warnings(self):
        return [event[1] for event in self.events if event[0] == "warning"]


def write_scan(path, size=(22, 18, 9), spacing=(0.9, 1.1, 3.0), direction=None, low=0.0):
    """A dark scan with a grey block and a bright one; returns the expected labels and the scan."""
    array = np.full(size, low, np.float32)
    expected = np.zeros(size, np.uint8)
    i, j, k = (edge // 4 for edge in size)
    array[i : 2 * i + 2, j : 3 * j, k : 3 * k] = 50
    expected[i : 2 * i + 2, j : 3 * j, k : 3 * k] = 3
    array[2 * i + 4 : 3 * i + 4, j : 2 * j, k : 2 * k + 1] = 100
    expected[2 * i + 4 : 3 * i + 4, j : 2 * j, k : 2 * k + 1] = 7
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing(spacing)
    image.SetOrigin((31.25, -47.5, 12.125))
    image.SetDirection((OBLIQUE if direction is None else direction).ravel().tolist())
    sitk.WriteImage(image, str(path))
    return expected, image


@pytest.fixture
def model(tmp_path):
    return write_tiny_bundle(tmp_path / "tiny")


@pytest.fixture
def sharp_model(tmp_path):
    """A model that keeps the scan's own spacing, so that its labels can be told to the voxel."""
    return write_tiny_bundle(tmp_path / "sharp", Preprocessing("RAS", None, Intensity("window", 0, 100)))


def settings_for(model, scan, output, **changes):
    scans = scan if isinstance(scan, tuple) else (scan,)
    return SegmentSettings(inputs=scans, model=str(model), output=output, engine="openvino", device="cpu", **changes)


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
        choose_labels(open_bundle(model).description, ("liver", "grey"))


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


def test_several_scans_go_to_a_folder_with_one_table(tmp_path, sharp_model):
    folder = tmp_path / "Aufnahmen größer"
    folder.mkdir()
    expected, image = write_scan(folder / "eins.nii.gz")
    write_scan(folder / "zwei.nrrd", size=(12, 12, 12), spacing=(1.0, 1.0, 1.0))
    table = tmp_path / "out" / "volumes.csv"
    results = segment(
        settings_for(
            sharp_model,
            (folder / "eins.nii.gz", folder / "zwei.nrrd"),
            tmp_path / "out",
            table=table,
            preview=tmp_path / "out" / "look.png",
            file_format=".mha",
        )
    )
    assert [result.output.name for result in results] == ["eins_segmentation.mha", "zwei_segmentation.mha"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "eins_segmentation.mha",
        "look_eins.png",
        "look_zwei.png",
        "volumes.csv",
        "zwei_segmentation.mha",
    ]
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["label"], row["value"]) for row in rows] == [("Grey", "3"), ("Bright", "7")] * 2
    assert rows[0]["file"] == str(folder / "eins.nii.gz")
    assert int(rows[0]["voxels"]) == (expected == 3).sum()
    assert float(rows[0]["mL"]) == pytest.approx((expected == 3).sum() * np.prod(image.GetSpacing()) / 1000, rel=1e-4)


def test_one_bad_scan_among_several_does_not_stop_the_others(tmp_path, sharp_model):
    (tmp_path / "bad.nrrd").write_text("nothing")
    write_scan(tmp_path / "good.nrrd")
    recorder = Recorder()
    with pytest.raises(UserError, match="1 of 2 cases") as refusal:
        segment(settings_for(sharp_model, (tmp_path / "bad.nrrd", tmp_path / "good.nrrd"), tmp_path / "out"), recorder)
    assert refusal.value.code == "cases-failed"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good_segmentation.nii.gz"]
    assert any("bad.nrrd" in event[2] for event in recorder.events if event[0] == "warning")


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
    ("output", "inputs", "named"),
    [
        ("labels.txt", ["a.nrrd"], "ending"),
        ("labels.nii.gz", ["a.nrrd", "b.nrrd"], "cannot all be written"),
        ("a.nrrd", ["a.nrrd"], "also an input"),
        ("b.nhdr", ["a.nrrd"], "ending"),
        ("out", ["x/a.nrrd", "x/a.mha"], "same output name"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_any_work(tmp_path, output, inputs, named):
    for name in inputs:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=named) as refusal:
        plan_jobs([tmp_path / name for name in inputs], 1, tmp_path / output)
    assert refusal.value.hint


def test_equal_names_from_different_folders_get_the_folder_name(tmp_path):
    inputs = [tmp_path / subject / "T1.nii.gz" for subject in ("sub-01", "sub-02")]
    for path in inputs:
        path.parent.mkdir()
        path.touch()
    jobs = plan_jobs(inputs, 1, tmp_path / "out")
    assert [job.output.name for job in jobs] == ["sub-01_T1_segmentation.nii.gz", "sub-02_T1_segmentation.nii.gz"]


def test_a_failure_leaves_no_file_behind(tmp_path, sharp_model, monkeypatch):
    write_scan(tmp_path / "scan.nrrd")

    def break_off(*arguments):
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

    monkeypatch.setattr("mimseg.inference.pipeline.sliding_window", run_out)
    with pytest.raises(OutOfMemory, match=r"22x18x9 voxels with 2 structures.*--roi"):
        segment(settings_for(sharp_model, tmp_path / "scan.nrrd", tmp_path / "labels.nrrd"))


@pytest.mark.parametrize(
    "text",
    [
        "Exception from src/core: Can not allocate memory for the blob",
        "std::bad_alloc",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "[CPU] Failed to allocate 4096 bytes of memory",
        "could not create a memory object, out of memory",
    ],
)
def test_words_for_lack_of_memory_are_understood(text):
    assert is_out_of_memory(RuntimeError(text))


def test_other_failures_are_not_taken_for_lack_of_memory():
    assert not is_out_of_memory(RuntimeError("shape mismatch in memory layout"))
    with pytest.raises(RuntimeError, match="mismatch"), memory_errors_named("do it"):
        raise RuntimeError("mismatch")


def test_engine_and_device_that_do_not_go_together_are_refused(model):
    with pytest.raises(UserError, match="OpenVINO does not run on cuda"):
        engines.open_engine(open_bundle(model), "cuda", "openvino")


def test_a_damaged_network_is_refused(tmp_path, model):
    bundle = open_bundle(model)
    bundle.onnx_path.write_bytes(b"garbage")
    with pytest.raises(UserError, match="cannot be read by OpenVINO"):
        engines.open_engine(bundle, "cpu", "openvino")


def test_without_a_gpu_driver_auto_is_openvino_on_the_cpu(model, monkeypatch):
    monkeypatch.setattr(engines, "_nvidia_driver_present", lambda: False)
    opened = engines.open_engine(open_bundle(model))
    assert (opened.name, opened.device) == ("openvino", "cpu")
    assert opened(np.zeros((3, 1, 16, 16, 16), np.float32)).shape == (3, 3, 16, 16, 16)


def test_the_volume_of_an_oblique_voxel_is_the_product_of_its_edges():
    grid = Grid((2, 3, 4), (0.5, 2.0, 3.0), direction=OBLIQUE)
    labels = np.full((2, 3, 4), 7, np.uint8)
    labels[0] = 9
    (row,) = measure(labels, grid, [label for label in LABELS if label.value == 7])
    assert (row.voxels, round(row.ml, 9)) == (12, 0.036)


def test_a_region_is_six_numbers():
    assert parse_region("-48,-8, -45,5,-40.5,1e1") == (-48, -8, -45, 5, -40.5, 10)
    for text in ("1,2,3", "a,b,c,d,e,f", ""):
        with pytest.raises(UserError, match="not six numbers"):
            parse_region(text)


def test_the_picture_is_a_readable_png(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(encode_png(picture))
    back = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.png")))
    assert np.array_equal(back, picture)
    assert zlib.crc32(b"IEND") == 0xAE426082


@pytest.mark.parametrize("turn", [np.diag([1.0, 1, 1]), np.diag([-1.0, -1, 1]), np.eye(3)[:, [2, 0, 1]]])
def test_the_picture_shows_the_right_side_on_the_left_and_the_front_at_the_top(turn):
    """One marked voxel at the patient's right, front and top, whatever the order of the array's axes."""
    grid = Grid((30, 30, 30), direction=turn)
    corner_lps = np.array([[-1.0, -1.0, 1.0]]) * 10
    middle = grid.to_point(np.array([[14.5, 14.5, 14.5]]))
    index = tuple(np.rint(grid.to_index(middle + corner_lps))[0].astype(int))
    labels = np.zeros(grid.size, np.uint8)
    labels[tuple(slice(i - 1, i + 2) for i in index)] = 7
    image = np.zeros(grid.size, np.float32)
    picture = preview.draw_preview(image, labels, grid, LABELS, (0, 1))
    tile, step = preview._TILE, preview._TILE + preview._GAP
    expected = [("front", "right"), ("top", "right"), ("top", "front")]
    for number in range(len(expected)):
        shown = picture[:tile, number * step : number * step + tile].sum(axis=2) > 0
        rows, columns = np.nonzero(shown)
        assert rows.max() < tile / 2  # Front or top: in the upper half.
        assert columns.max() < tile / 2  # Right or front: in the left half.


def test_the_picture_keeps_millimetres_square():
    grid = Grid((40, 40, 8), (1.0, 1.0, 5.0))
    picture = preview.draw_preview(np.ones(grid.size, np.float32), np.zeros(grid.size, np.uint8), grid, (), (0, 1))
    tile, step = preview._TILE, preview._TILE + preview._GAP
    for number in range(3):
        shown = picture[:tile, number * step : number * step + tile].any(axis=2)
        assert shown.all()  # 40 mm by 40 mm in every plane.


def test_the_picture_of_a_pair_cuts_through_one_of_the_pair():
    labels = np.zeros((40, 20, 20), np.uint8)
    labels[5:10, 5:15, 5:15] = 3
    labels[30:35, 5:15, 5:15] = 7
    assert labels[preview._centre(labels, preview.bounding_box(labels != 0))] != 0


def run_process(arguments, **options):
    command = [sys.executable, *options.pop("python", []), "-m", "mimseg", "segment", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, **options)


def test_the_command_writes_json_lines_and_ends_with_zero(tmp_path, model):
    write_scan(tmp_path / "scan.nrrd")
    done = run_process(
        [
            tmp_path / "scan.nrrd",
            "-m",
            model,
            "-o",
            tmp_path / "o.seg.nrrd",
            "--roi",
            "-60,60,-60,90,-60,60",
            "--json-lines",
        ]
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events if event["event"] != "progress"] == ["start", "result"]
    schema = json.loads(resources.files("mimseg").joinpath("schemas/events.schema.json").read_text(encoding="utf-8"))
    for event in events:
        jsonschema.validate(event, schema)
    assert (tmp_path / "o.seg.nrrd").is_file()


@pytest.mark.parametrize(
    "arguments",
    [
        ["missing.nrrd"],
        ["scan.nrrd", "--roi", "900,901,0,1,0,1"],
        ["scan.nrrd", "--roi", "1,2"],
        ["scan.nrrd", "--labels", "spleen"],
        ["scan.nrrd", "--overlap", "1"],
        ["scan.nrrd", "--threads", "0"],
        ["scan.nrrd", "--table", "scan.nrrd"],
        ["scan.nrrd", "--preview", "scan.nrrd"],
        ["scan.nrrd", "--model", "no-such-model"],
        ["scan.nrrd", "--engine", "openvino", "--device", "mps"],
        ["scan.nrrd", "--frame", "2"],
    ],
)
def test_bad_input_ends_with_two_and_one_error(tmp_path, sharp_model, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    write_scan(tmp_path / "scan.nrrd")
    before = sorted(tmp_path.rglob("*"))
    model = [] if "--model" in arguments else ["--model", str(sharp_model)]
    assert main(["segment", *arguments, *model, "-o", "out.nrrd", "--json-lines"]) == 2
    error = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert error["event"] == "error"
    assert error["message"]
    assert error["hint"]
    assert sorted(tmp_path.rglob("*")) == before


_SPY = """
import sys
opened = []
sys.addaudithook(lambda event, _: opened.append(event) if event.startswith("socket.") else None)
import mimseg
from mimseg.cli.main import main
code = main(sys.argv[1:])
heavy = {"torch", "monai", "matplotlib", "scipy", "onnx", "nibabel", "pandas", "openvino_telemetry"}
print(code, sorted(heavy & {name.split(".")[0] for name in sys.modules}), opened)
"""


def test_a_run_imports_no_training_package_and_opens_no_socket(tmp_path, model):
    write_scan(tmp_path / "scan.nii.gz")
    (tmp_path / "spy.py").write_text(_SPY)
    command = [sys.executable, str(tmp_path / "spy.py"), "segment", str(tmp_path / "scan.nii.gz"), "--quiet"]
    command += ["-m", str(model), "-o", str(tmp_path / "o.nii.gz"), "--preview", str(tmp_path / "p.png")]
    command += ["--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "0 [] []", done.stdout + done.stderr
    assert done.stderr == ""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace, which sees system calls of C++ code too")
def test_no_part_of_a_run_calls_the_network(tmp_path, model):
    write_scan(tmp_path / "scan.nii.gz")
    trace = tmp_path / "trace.txt"
    command = ["strace", "-f", "-e", "trace=network", "-o", str(trace), sys.executable, "-m", "mimseg", "segment"]
    command += [str(tmp_path / "scan.nii.gz"), "-m", str(model), "-o", str(tmp_path / "o.nii.gz"), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if "PTRACE" in done.stderr or "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    calls = [line for line in trace.read_text(encoding="utf-8").splitlines() if "(" in line]
    assert calls == []


@pytest.fixture(scope="module")
def random_unetr(tmp_path_factory):
    """A UNETR of random weights, as a bundle, with its description."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("monai")
    pytest.importorskip("onnx")
    from mimseg.bundle.writer import write_bundle
    from mimseg.networks.unetr import build

    network_settings = NetworkSettings((16, 16, 16), 8, 1, 3, hidden_size=48, mlp_size=96, layers=3, heads=4)
    torch.manual_seed(0)
    description = Description(
        name="random",
        title="Random",
        description="Random weights.",
        version="1.0.0",
        modality="MR",
        channels=("T1",),
        preprocessing=Preprocessing("RAS", (1.0, 1.0, 1.5)),
        window=(16, 16, 16),
        labels=LABELS,
        network=network_settings.to_json(),
    )
    return write_bundle(tmp_path_factory.mktemp("models") / "random", build(network_settings), description)


@pytest.mark.train
def test_labels_equal_those_of_monai_on_the_torch_network(tmp_path, random_unetr):
    import torch
    from monai.data import MetaTensor
    from monai.inferers import SlidingWindowInferer
    from monai.transforms import Compose, NormalizeIntensityd, Orientationd, ScaleIntensityRanged, Spacingd
    from safetensors.torch import load_file

    from mimseg.networks.unetr import build

    array = np.random.default_rng(5).normal(100, 20, (30, 24, 14)).astype(np.float32)
    array[:4] = 0
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing((0.93, 1.27, 2.11))
    image.SetDirection(OBLIQUE.ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / "scan.nrrd"))
    segment(settings_for(random_unetr.path, tmp_path / "scan.nrrd", tmp_path / "labels.nrrd"))
    labels = read_labelmap(tmp_path / "labels.nrrd").array

    network = build(random_unetr.description.network_settings).eval()
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(random_unetr.weights_path).items()})
    grid = read_volume(tmp_path / "scan.nrrd").grid
    transforms = Compose(
        [
            Orientationd("image", "RAS", labels=None),
            Spacingd("image", (1.0, 1.0, 1.5), mode="bilinear", align_corners=True),
            NormalizeIntensityd("image", nonzero=True, channel_wise=True),
            ScaleIntensityRanged("image", -5, 5, -5, 5, clip=True),
        ]
    )
    scan = transforms({"image": MetaTensor(array[None], affine=np.diag([-1.0, -1, 1, 1]) @ grid.affine)})["image"]
    with torch.inference_mode():
        logits = SlidingWindowInferer((16, 16, 16), 1, 0.5, mode="gaussian")(scan[None].as_tensor(), network)
    probabilities = MetaTensor(torch.softmax(logits[0], 0), affine=scan.affine)
    probabilities.applied_operations = scan.applied_operations
    expected = np.array([0, 3, 7])[transforms.inverse({"image": probabilities})["image"].argmax(0).numpy()]
    assert len(np.unique(expected)) > 1
    assert (labels != expected).mean() <= 1e-3


@pytest.mark.train
def test_the_torch_engine_gives_the_logits_of_openvino(random_unetr):
    windows = np.random.default_rng(0).normal(size=(2, 1, 16, 16, 16)).astype(np.float32)
    by_torch = engines.open_engine(random_unetr, "cpu", "torch")
    by_openvino = engines.open_engine(random_unetr, "cpu", "openvino")
    assert (by_torch.name, by_torch.device) == ("torch", "cpu")
    assert np.abs(by_torch(windows) - by_openvino(windows)).max() < 1e-3


@pytest.mark.train
def test_a_gpu_that_is_not_there_is_named(random_unetr):
    import torch

    for device, there in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())):
        if not there:
            with pytest.raises(UserError, match="GPU"):
                engines.open_engine(random_unetr, device, "torch")
