"""`mimseg segment` as a command: options, events, exit codes, what it imports and does not call."""

import json
import shutil
import subprocess
import sys
from importlib import resources

import jsonschema
import pytest
from segment_tools import write_scan
from tiny_model import write_tiny_bundle

from mimseg.cli.main import main
from mimseg.cli.segment import parse_region
from mimseg.data.intensity import Intensity
from mimseg.data.preprocessing import Preprocessing
from mimseg.errors import UserError


@pytest.fixture
def model(tmp_path):
    return write_tiny_bundle(tmp_path / "tiny")


@pytest.fixture
def sharp_model(tmp_path):
    """A model that keeps the scan's own spacing, so that its labels can be told to the voxel."""
    return write_tiny_bundle(tmp_path / "sharp", Preprocessing("RAS", None, Intensity("window", 0, 100)))


def test_a_region_is_six_numbers():
    assert parse_region("-48,-8, -45,5,-40.5,1e1") == (-48, -8, -45, 5, -40.5, 10)
    for text in ("1,2,3", "a,b,c,d,e,f", ""):
        with pytest.raises(UserError, match="not six numbers"):
            parse_region(text)


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
