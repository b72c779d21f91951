"""`mimseg doctor`: its advice, its report as text and JSON, and what a computer without packages gets."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import mimseg
from mimseg import installation, stopping
from mimseg.cli.main import main
from mimseg.commands.doctor import run as doctor_module
from mimseg.commands.doctor.run import Examination, examine, format_examination
from mimseg.computer import advice as advice_module
from mimseg.computer.advice import advise
from mimseg.computer.graphics import GraphicsCard
from mimseg.computer.memory import Memory
from mimseg.computer.packages import REQUIREMENTS, Package
from mimseg.computer.probe import describe_torch
from mimseg.computer.processor import describe_processor
from mimseg.computer.speed import Speed
from mimseg.errors import Stopped
from mimseg.events import Reporter

SOURCE = Path(mimseg.__file__).parents[1]
NVIDIA = GraphicsCard("NVIDIA H200", "cuda", 140 * 2**30, 139 * 2**30, "570.1", "9.0")
PLENTY = Memory(32 * 2**30, 16 * 2**30)


def package(name: str, state: str = "works", version: str = "9.9", **changes: Any) -> Package:
    listed = next(each for each in REQUIREMENTS if each.name == name)
    return Package(name, listed.purpose, listed.minimum, "" if state == "missing" else version, state, **changes)  # type: ignore[arg-type]


def all_packages(**states: str) -> list[Package]:
    return [package(each.name, states.get(each.module, "works")) for each in REQUIREMENTS]


def commands(found: list[advice_module.Advice]) -> str:
    return "\n".join(command for each in found for command in each.commands)


class FakeCuda:
    """torch.cuda with two cards, the second too new for this build."""

    is_available = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 2)
    get_device_name = staticmethod(lambda name: f"card of {name}")
    mem_get_info = staticmethod(lambda name: (5, 8))


def test_a_card_that_pytorch_lists_but_cannot_use_is_found():
    class Tensor:
        def __init__(self, length: int, device: str) -> None:
            if device == "cuda:1":
                raise RuntimeError("no kernel image is available for execution on the device")
            self.total = float(length)

        def __add__(self, number: float) -> Any:
            self.total *= 1 + number
            return self

        def sum(self) -> Any:
            return self

        def cpu(self) -> float:
            return self.total

    torch = SimpleNamespace(
        __version__="2.8", version=SimpleNamespace(cuda="12.6"), cuda=FakeCuda, ones=Tensor, backends=SimpleNamespace()
    )
    details = describe_torch(torch)
    assert [device["works"] for device in details["devices"]] == [True, False]
    assert details["devices"][0]["free"] == 5
    found = advise([package("torch", details=details)], [NVIDIA], PLENTY)
    assert [each.purpose for each in found] == ["speed"]
    assert "no kernel image" in found[0].problem


def test_nothing_to_do_where_everything_works():
    assert advise(all_packages(), [], PLENTY) == []


def test_missing_openvino_is_installed_by_one_command():
    (found,) = advise(all_packages(openvino="missing"), [], PLENTY)
    assert found.purpose == "segment"
    assert [command.endswith(' -m pip install "openvino>=2025.4"') for command in found.commands] == [True]


def test_linux_without_a_card_is_warned_of_the_cuda_that_default_pytorch_brings(monkeypatch: pytest.MonkeyPatch):
    missing = all_packages(torch="missing", monai="too old")
    monkeypatch.setattr(advice_module.sys, "platform", "linux")
    found = advise(missing, [], PLENTY)
    assert '"torch>=2.8" --index-url https://download.pytorch.org/whl/cpu' in commands(found)
    assert '"monai>=1.5.1"' in found[0].commands[1]
    assert "torch" not in found[0].commands[1]
    assert "several GB of CUDA" in found[0].problem
    with_card = advise(missing, [NVIDIA], PLENTY)
    assert "index-url" not in commands(with_card)
    assert '"torch>=2.8" "monai>=1.5.1"' in commands(with_card)
    monkeypatch.setattr(advice_module.sys, "platform", "darwin")
    assert "index-url" not in commands(advise(missing, [], PLENTY))


def test_broken_package_is_reinstalled_in_the_same_version_and_build():
    broken = package("torch", "broken", "2.13.0+cpu", fault="ImportError: half")
    (found,) = advise([broken], [], PLENTY)
    assert "does not work: ImportError: half." in found.problem
    assert '--force-reinstall --no-deps "torch==2.13.0+cpu" --index-url' in found.commands[0]


def test_card_that_the_processor_build_of_pytorch_leaves_idle_is_told():
    (found,) = advise([package("torch", details={"cuda_build": "", "devices": []})], [NVIDIA], PLENTY)
    assert "NVIDIA H200" in found.problem
    assert "processor only" in found.problem
    (found,) = advise([package("torch", details={"cuda_build": "13.0", "devices": []})], [NVIDIA], PLENTY)
    assert "does not fit the driver 570.1" in found.problem


def test_little_memory_is_told():
    (found,) = advise(all_packages(), [], Memory(8 * 2**30, 2**30))
    assert "1.0 GiB" in found.problem


def test_environments_without_pip_get_commands_that_work(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(installation, "find_spec", lambda name: None)
    monkeypatch.setattr(installation.shutil, "which", lambda name: "/usr/bin/uv")
    assert installation.pip_install("x")[0].startswith("uv pip install --python ")
    monkeypatch.setattr(installation.shutil, "which", lambda name: None)
    assert "ensurepip" in installation.pip_install("x")[0]


def test_path_of_python_with_spaces_is_quoted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(installation.sys, "executable", r"C:\Program Files\Slicer\PythonSlicer.exe")
    assert installation.pip_install("x")[0].startswith(r'"C:\Program Files\Slicer\PythonSlicer.exe" ')


def test_what_the_computer_can_do_follows_from_its_packages():
    def found(**states: str) -> Examination:
        return Examination(describe_processor(), PLENTY, (), tuple(all_packages(**states)), Speed(), ())

    assert found().engines == ("openvino on cpu", "torch on cpu")
    assert found().can_train
    assert found(openvino="missing").engines == ("torch on cpu",)
    assert found(openvino="missing").can_train
    assert found(einops="missing").engines == ("openvino on cpu",)
    assert not found(einops="missing").can_train
    assert found(SimpleITK="broken").engines == ()
    assert found(monai="missing").engines == ("openvino on cpu",)
    assert not found(monai="too old").can_train


def test_text_and_json_show_what_was_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    segmenting = tuple(each for each in REQUIREMENTS if each.purpose == "segment")
    monkeypatch.setattr(doctor_module, "REQUIREMENTS", segmenting)
    monkeypatch.setattr(doctor_module, "measure_speed", lambda: Speed(51.0, 72.0, ("CPU",), False))
    monkeypatch.setattr(doctor_module, "describe_graphics", lambda: (NVIDIA,))
    assert main(["doctor", "--quiet"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^  numpy +\d[\d.]+ +works$", text, re.M)
    assert "NVIDIA H200, 140.0 GiB, 139.0 GiB free, driver 570.1" in text
    assert "51 GFLOP/s matrix product (numpy), 72 GFLOP/s 3D convolution (OpenVINO)" in text
    assert main(["doctor", "--json", "--quiet"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["can"]["segment"][0] == "openvino on cpu"
    assert report["graphics"][0]["free"] == 139 * 2**30


def test_json_lines_fit_the_schema_and_end_with_the_report(capsys: pytest.CaptureFixture):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((SOURCE / "mimseg" / "schemas" / "events.schema.json").read_text(encoding="utf-8"))
    assert main(["doctor", "--quick", "--json-lines"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for event in events:
        jsonschema.validate(event, schema, cls=jsonschema.Draft202012Validator)
    assert [events[0]["event"], events[-1]["event"]] == ["start", "result"]
    assert events[-1]["format"] == "mimseg-doctor"
    assert main(["doctor", "--json", "--json-lines"]) == 2


def test_doctor_works_and_ends_with_0_where_no_package_is_installed(tmp_path: Path):
    # A copy, since beside an installed mimseg lie other packages. -S: Python without its site-packages.
    shutil.copytree(SOURCE / "mimseg", tmp_path / "mimseg", ignore=shutil.ignore_patterns("shipped_models"))
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from mimseg.cli.main import main; sys.exit(main())"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    process = subprocess.run(
        [sys.executable, "-S", "-c", code, "doctor", "--quick"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment,
    )
    assert process.returncode == 0, process.stderr
    assert "segment: not yet" in process.stdout
    assert '"pydicom>=2.4" "openvino>=2025.4"' in process.stdout
    assert len(re.findall(r"^  \S+ +missing$", process.stdout, re.M)) == len(REQUIREMENTS)


def test_stopped_examination_raises():
    stopping.request()
    try:
        with pytest.raises(Stopped):
            examine(Reporter(), quick=True)
    finally:
        stopping.clear()


def test_advice_is_shown_with_its_commands():
    advice = tuple(advise(all_packages(openvino="missing"), [], PLENTY))
    found = Examination(describe_processor(), PLENTY, (), tuple(all_packages(openvino="missing")), Speed(), advice)
    text = format_examination(found)
    assert "1. (segment) Segmenting needs packages that are missing: openvino." in text
    assert text.splitlines()[-1].strip() == advice[0].commands[0]
