"""`mimseg doctor`: hardware from what systems tell, packages that are broken in many ways, advice."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mimseg import stopping
from mimseg.cli.main import main
from mimseg.computer import advice as advice_module
from mimseg.computer import graphics, memory, packages, processor
from mimseg.computer.advice import advise
from mimseg.computer.graphics import GraphicsCard, parse_nvidia_smi
from mimseg.computer.memory import Memory
from mimseg.computer.packages import (
    REQUIREMENTS,
    Package,
    Requirement,
    import_elsewhere,
    inspect_packages,
    is_older,
)
from mimseg.computer.probe import describe_torch
from mimseg.computer.processor import describe_processor
from mimseg.computer.speed import Speed, measure_speed
from mimseg.errors import Stopped
from mimseg.events import Reporter
from mimseg.tasks import doctor as doctor_module
from mimseg.tasks.doctor import Examination, examine, format_examination

SOURCE = Path(doctor_module.__file__).parents[2]
NVIDIA = GraphicsCard("NVIDIA H200", "cuda", 140 * 2**30, 139 * 2**30, "570.1", "9.0")
PLENTY = Memory(32 * 2**30, 16 * 2**30)
BODIES = {
    "fine": "__version__ = '2.0'\nprint('hello from the import')",
    "old": "__version__ = '1.4'",
    "raising": "raise OSError('[WinError 126] a DLL was not found')",
    "crashing": "import os; os.abort()",
    "leaving": "import sys; sys.exit(3)",
    "unfinished": "",
    "unlisted": "__version__ = '3.1'",
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages in every state, on the search path of this process and its children."""
    for name, body in BODIES.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(body)
    (tmp_path / "emptied").mkdir()
    versions = dict.fromkeys((*BODIES, "emptied", "gone"), "2.0") | {"old": "1.4", "unfinished": None}
    for name, version in versions.items():
        if name == "unlisted":
            continue
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}"] + ([f"Version: {version}"] if version else [])
        (folder / "METADATA").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(SOURCE)]))
    return tmp_path


def requirement(name: str, minimum: str = "1.5") -> Requirement:
    return Requirement(name, name, minimum, "train")


def package(name: str, state: str = "works", version: str = "9.9", **changes: Any) -> Package:
    listed = next(each for each in REQUIREMENTS if each.name == name)
    return Package(name, listed.purpose, listed.minimum, "" if state == "missing" else version, state, **changes)  # type: ignore[arg-type]


def all_packages(**states: str) -> list[Package]:
    return [package(each.name, states.get(each.module, "works")) for each in REQUIREMENTS]


def commands(found: list[advice_module.Advice]) -> str:
    return "\n".join(command for each in found for command in each.commands)


def test_packages_that_crash_raise_or_are_half_installed_are_told_apart(site: Path):
    names = ["fine", "crashing", "raising", "leaving", "old", "unfinished", "unlisted", "emptied", "gone", "absent"]
    found = {each.name: each for each in inspect_packages([requirement(name) for name in names])}
    assert {name: each.state for name, each in found.items()} == {
        "fine": "works",
        "crashing": "broken",
        "raising": "broken",
        "leaving": "broken",
        "old": "too old",
        "unfinished": "broken",
        "unlisted": "works",
        "emptied": "broken",
        "gone": "broken",
        "absent": "missing",
    }
    assert found["fine"].version == "2.0"
    assert found["unlisted"].version == "3.1"
    assert "DLL was not found" in found["raising"].fault
    assert "ended the process" in found["crashing"].fault
    assert "files are missing" in found["gone"].fault
    assert "not finished" in found["unfinished"].fault


def test_quick_look_imports_nothing(site: Path):
    found = inspect_packages([requirement("crashing"), requirement("old"), requirement("absent")], try_import=False)
    assert [each.state for each in found] == ["installed", "too old", "missing"]


def test_package_that_hangs_is_given_up_and_the_next_one_is_tried(site: Path):
    (site / "hanging").mkdir()
    (site / "hanging" / "__init__.py").write_text("import time; time.sleep(60)")
    answers = import_elsewhere(["hanging", "fine"], timeout=1.0)
    assert "more than 1 s" in answers["hanging"]["error"]
    assert answers["fine"]["version"] == "2.0"


def test_stop_ends_the_child_and_the_examination(site: Path):
    (site / "hanging").mkdir()
    (site / "hanging" / "__init__.py").write_text("import time; time.sleep(60)")
    stopping.request()
    start = time.monotonic()
    try:
        with pytest.raises(Stopped):
            import_elsewhere(["hanging"])
    finally:
        stopping.clear()
    assert time.monotonic() - start < 5


def test_computer_without_a_usable_python_is_described_all_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packages.sys, "executable", "/no/such/python")
    assert import_elsewhere(["numpy"]) == {}
    assert measure_speed() == Speed()


def test_versions_are_compared_by_their_numbers():
    assert is_older("2.7.1", "2.8")
    assert is_older("1.9", "1.26")
    assert not is_older("2.13.0+cpu", "2.8")
    assert not is_older("2.8", "2.8.0")
    assert not is_older("2026.4.1-22982-e213a147257", "2025.4")
    assert not is_older("unknown", "2.8")


def test_requirements_are_those_of_the_package():
    tomllib = pytest.importorskip("tomllib")
    described = Path(__file__).resolve().parents[2] / "backend" / "pyproject.toml"
    project = tomllib.loads(described.read_text(encoding="utf-8"))["project"]
    for purpose, listed in (
        # OpenVINO is not a plain dependency, so that its telemetry package is not installed.
        ("segment", project["dependencies"] + project["optional-dependencies"]["openvino"]),
        ("train", project["optional-dependencies"]["train"]),
    ):
        ours = {f"{each.name}>={each.minimum}" for each in REQUIREMENTS if each.purpose == purpose}
        assert ours == set(listed)


def test_linux_processor_and_its_features_are_read(monkeypatch: pytest.MonkeyPatch):
    texts = {
        "/proc/cpuinfo": "processor\t: 0\nmodel name\t: Some Xeon\nflags\t\t: fpu avx2 avx512f avx512_bf16 amx_bf16\n"
    }
    monkeypatch.setattr(processor.sys, "platform", "linux")
    monkeypatch.setattr(processor, "read_text", lambda path: texts.get(path, ""))
    found = describe_processor()
    assert found.name == "Some Xeon"
    assert found.features == ("AVX2", "AVX-512", "AVX-512 bf16", "AMX bf16")
    assert found.fast_bfloat16


def test_arm_processor_of_macos_is_read(monkeypatch: pytest.MonkeyPatch):
    listing = (
        "machdep.cpu.brand_string: Apple M2\nhw.optional.arm.FEAT_BF16: 1\nhw.optional.neon: 1\nhw.optional.x: 0\n"
    )
    monkeypatch.setattr(processor.sys, "platform", "darwin")
    monkeypatch.setattr(processor, "output_of", lambda *command, **options: listing)
    found = describe_processor()
    assert (found.name, found.features) == ("Apple M2", ("NEON", "ARM bf16"))


def test_intel_processor_of_macos_is_read(monkeypatch: pytest.MonkeyPatch):
    listing = "machdep.cpu.brand_string: Intel i7\nmachdep.cpu.leaf7_features: AVX2 SMEP\nhw.optional.avx512f: 0\n"
    monkeypatch.setattr(processor.sys, "platform", "darwin")
    monkeypatch.setattr(processor, "output_of", lambda *command, **options: listing)
    found = describe_processor()
    assert found.features == ("AVX2",)
    assert not found.fast_bfloat16


def test_unknown_system_gives_little_and_does_not_fail(monkeypatch: pytest.MonkeyPatch):
    for module in (processor, memory):
        monkeypatch.setattr(module.sys, "platform", "plan9")
        monkeypatch.setattr(module, "read_text", lambda path: "")
        monkeypatch.setattr(module, "output_of", lambda *command, **options: "")
    found = describe_processor()
    assert not found.features_known
    assert found.usable_cores >= 1
    memory.describe_memory()


def test_container_limits_of_cores_and_memory_count(monkeypatch: pytest.MonkeyPatch):
    texts = {
        "/proc/meminfo": "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:   12000000 kB\n",
        "/sys/fs/cgroup/memory.max": "2048000000\n",
        "/sys/fs/cgroup/memory.current": "1024000000\n",
        "/sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 24000000\n",
        "/sys/fs/cgroup/cpu.max": "50000 100000\n",
    }
    for module in (processor, memory):
        monkeypatch.setattr(module.sys, "platform", "linux")
        monkeypatch.setattr(module, "read_text", lambda path: texts.get(path, ""))
    assert processor.usable_cores() == 1
    assert memory.describe_memory() == Memory(2048000000, 2048000000 - 1024000000 + 24000000)
    del texts["/sys/fs/cgroup/memory.max"]
    assert memory.describe_memory() == Memory(16000000 * 1024, 12000000 * 1024)


def test_memory_of_macos_is_read(monkeypatch: pytest.MonkeyPatch):
    answers = {
        "sysctl": "17179869184\n",
        "vm_stat": "Mach Virtual Memory Statistics: (page size of 16384 bytes)\nPages free:        100.\n"
        "Pages active:      7.\nPages inactive:    50.\n",
    }
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    monkeypatch.setattr(memory, "output_of", lambda *command, **options: answers[command[0]])
    assert memory.describe_memory() == Memory(17179869184, 150 * 16384)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="compared with Linux' own numbers")
def test_memory_of_this_computer_is_that_of_psutil():
    psutil = pytest.importorskip("psutil")
    found, expected = memory.describe_memory(), psutil.virtual_memory()
    assert found.total is not None
    assert found.free is not None
    assert found.total <= expected.total
    assert found.free <= expected.available + 2**30


def test_graphics_cards_are_read_from_the_drivers_table(monkeypatch: pytest.MonkeyPatch):
    assert parse_nvidia_smi("NVIDIA H200, 143771, 143166, 570.1, 9.0\nNVIDIA T400, 2048, [N/A], 390.1\nrubbish\n") == [
        GraphicsCard("NVIDIA H200", "cuda", 143771 * 2**20, 143166 * 2**20, "570.1", "9.0"),
        GraphicsCard("NVIDIA T400", "cuda", 2048 * 2**20, None, "390.1", ""),
    ]
    monkeypatch.setattr(graphics.sys, "platform", "darwin")
    monkeypatch.setattr(graphics.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(graphics, "output_of", lambda *command, **options: "")
    assert [card.kind for card in graphics.describe_graphics()] == ["mps"]


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


def test_missing_openvino_is_installed_without_its_dependencies():
    (found,) = advise(all_packages(openvino="missing"), [], PLENTY)
    assert found.purpose == "segment"
    assert found.commands[0].endswith('--no-deps "openvino>=2025.4"')
    assert "telemetry" in found.problem


def test_linux_without_a_card_is_warned_of_the_cuda_that_default_pytorch_brings(monkeypatch: pytest.MonkeyPatch):
    missing = all_packages(torch="missing", monai="too old")
    monkeypatch.setattr(advice_module.sys, "platform", "linux")
    found = advise(missing, [], PLENTY)
    assert '"torch>=2.8" --index-url https://download.pytorch.org/whl/cpu' in commands(found)
    assert '"monai>=1.5.1"' in found[0].commands[1]
    assert "torch" not in found[0].commands[1]
    assert "several GB of CUDA" in found[0].problem
    assert "mimseg[train]" in found[0].problem
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
    monkeypatch.setattr(advice_module, "find_spec", lambda name: None)
    monkeypatch.setattr(advice_module.shutil, "which", lambda name: "/usr/bin/uv")
    assert advice_module.pip_install("x")[0].startswith("uv pip install --python ")
    monkeypatch.setattr(advice_module.shutil, "which", lambda name: None)
    assert "ensurepip" in advice_module.pip_install("x")[0]


def test_path_of_python_with_spaces_is_quoted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(advice_module.sys, "executable", r"C:\Program Files\Slicer\PythonSlicer.exe")
    assert advice_module.pip_install("x")[0].startswith(r'"C:\Program Files\Slicer\PythonSlicer.exe" ')


def test_what_the_computer_can_do_follows_from_its_packages():
    def found(**states: str) -> Examination:
        return Examination(describe_processor(), PLENTY, (), tuple(all_packages(**states)), Speed(), ())

    assert found().engines == ("openvino on cpu", "torch on cpu")
    assert found().can_train
    assert found(openvino="missing").engines == ("torch on cpu",)
    assert found(openvino="missing").can_train
    assert found(SimpleITK="broken").engines == ()
    assert found(monai="missing").engines == ("openvino on cpu",)
    assert not found(monai="too old").can_train


def test_speed_is_measured_in_about_a_second():
    pytest.importorskip("openvino")
    speed = measure_speed()
    assert speed.matrix_gflops is not None
    assert speed.matrix_gflops > 0.1
    assert speed.network_gflops is not None
    assert speed.network_gflops > 0.1
    assert "CPU" in speed.openvino_devices


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
    assert '--no-deps "openvino>=2025.4"' in process.stdout
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
