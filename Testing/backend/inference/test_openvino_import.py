"""OpenVINO reports nothing: its telemetry package, installed beside it, is never loaded, and no socket is opened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openvino")

ROOT = Path(__file__).resolve().parents[3]
SCAN = ROOT / "Resources" / "SampleData" / "MNI152_T1.nii.gz"
# Python runs this when it starts, in every process: it writes down what must not happen.
WATCH = """
import os, sys
def watch(event, arguments):
    name = str(arguments[0]) if arguments else ""
    if event.startswith("socket.") or event == "import" and "telemetry" in name.lower():
        with open(os.environ["WATCHED"], "a") as stream:
            stream.write(f"{event} {name}\\n")
sys.addaudithook(watch)
"""
# As openvino_telemetry: it sends as soon as an object is made.
TELEMETRY = """
import socket
class Telemetry:
    def __init__(self, *arguments, **options):
        self.backend = self
        self.app_name = options.get("app_name")
        socket.socket().close()
    def send_event(self, *arguments, **options):
        socket.socket().close()
"""


@pytest.fixture
def watched(tmp_path: Path) -> dict[str, str]:
    """Variables of a process in which telemetry is installed and watched."""
    package = tmp_path / "site" / "openvino_telemetry"
    (package / "backend").mkdir(parents=True)
    (package / "__init__.py").write_text(TELEMETRY, encoding="utf-8")
    (package / "backend" / "__init__.py").touch()
    (package / "backend" / "backend_ga4.py").touch()
    (tmp_path / "site" / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    path = os.pathsep.join([str(tmp_path / "site"), str(ROOT / "backend" / "src")])
    return {**os.environ, "PYTHONPATH": path, "WATCHED": str(tmp_path / "watched.txt"), "HOME": str(tmp_path)}


def run(watched: dict[str, str], *arguments: str) -> list[str]:
    """Run Python and return what was written down."""
    done = subprocess.run([sys.executable, *arguments], env=watched, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = Path(watched["WATCHED"])
    return written.read_text().splitlines() if written.exists() else []


def test_openvino_as_it_comes_reports_its_use(watched: dict[str, str]):
    """Else the tests below would pass for nothing."""
    seen = run(watched, "-c", "import openvino")
    assert "import openvino_telemetry" in seen
    assert any(line.startswith("socket.") for line in seen)


def test_segmenting_loads_no_telemetry_and_opens_no_socket(watched: dict[str, str], tmp_path: Path):
    result = tmp_path / "labels.nii.gz"
    box = "--roi=10,46,-46,6,-33,5"
    seen = run(watched, "-m", "mimseg", "segment", str(SCAN), "--model", "hippocampus-mr", box, "-o", str(result))
    assert result.is_file()
    assert seen == []


def test_the_doctor_loads_no_telemetry_and_opens_no_socket(watched: dict[str, str]):
    assert run(watched, "-m", "mimseg", "doctor", "--quick") == []
    code = "from mimseg.computer.speed import measure_speed; assert measure_speed().network_gflops"
    assert run(watched, "-c", code) == []


def test_features_are_computed_without_telemetry(watched: dict[str, str]):
    model = str(ROOT / "Resources" / "Models" / "hippocampus-mr")
    code = (
        "from pathlib import Path; from mimseg.bundle.reader import open_bundle;"
        "from mimseg.inference.features import FeatureEngine;"
        f"FeatureEngine(open_bundle(Path({model!r})), 1)"
    )
    assert run(watched, "-c", code) == []


def test_programs_that_use_openvino_themselves_keep_its_converter(watched: dict[str, str]):
    code = (
        "from mimseg.inference.engines.openvino_import import import_openvino; import sys;"
        "assert not hasattr(import_openvino(), 'convert_model');"
        "assert not any(name in sys.modules for name in ('openvino.tools.ovc', 'openvino_telemetry'));"
        "from openvino.tools.ovc import convert_model"
    )
    run(watched, "-c", code)
