"""The stranger's two commands, the lock files they install and the demo volume."""

from __future__ import annotations

import hashlib
import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import SimpleITK as sitk
from cli_tools import run_program

ROOT = Path(__file__).resolve().parents[3]
SAMPLE_DATA = ROOT / "Resources" / "SampleData"
LOCKS = sorted(path for path in (ROOT / "requirements").glob("*.txt") if path.name != "excludes.txt")
REQUIREMENT = re.compile(r"^([a-z0-9.-]+)==([^\s;\\]+)( ; [^\\]+)?( \\)?$")
FORBIDDEN = re.compile(r"^(nvidia|cuda|triton|pytorch-triton|openvino-telemetry)", re.IGNORECASE)


@pytest.fixture(scope="module")
def run() -> ModuleType:
    return run_program()


@pytest.fixture
def environments(run: ModuleType) -> ModuleType:
    return importlib.import_module("requirements.environments")


def locked_packages(lock: Path) -> dict[str, int]:
    """Return how many hashes each `name==version` of a lock file has."""
    hashes: dict[str, int] = {}
    current = ""
    for line in lock.read_text(encoding="utf-8").splitlines():
        if line.startswith("    --hash=sha256:"):
            hashes[current] += 1
            continue
        match = REQUIREMENT.match(line)
        assert match, f"{lock.name}: {line!r}"
        current = f"{match[1]}=={match[2]}{match[3] or ''}"
        hashes[current] = 0
    return hashes


def test_help_names_both_commands() -> None:
    result = subprocess.run([sys.executable, ROOT / "run.py", "--help"], capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert "demo" in result.stdout
    assert "test" in result.stdout


@pytest.mark.parametrize("arguments", [[], ["something"], ["demo", "--surprise"]])
def test_bad_usage_ends_with_code_2(arguments: list[str]) -> None:
    command = [sys.executable, ROOT / "run.py", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "usage" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("version", [(3, 9), (3, 15), (2, 7)])
def test_a_python_without_locked_packages_is_refused_by_version(run: ModuleType, version: tuple[int, int]) -> None:
    with pytest.raises(run.SetupError, match=rf"{version[0]}\.{version[1]}.*3\.10 to 3\.14"):
        run.check_python(version)


@pytest.mark.parametrize("minor", range(10, 15))
def test_supported_pythons_are_accepted(run: ModuleType, minor: int) -> None:
    run.check_python((3, minor))


def test_an_old_python_is_told_so_before_anything_else(monkeypatch: pytest.MonkeyPatch, run: ModuleType) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 8, 1))
    with pytest.raises(SystemExit) as stopped:
        exec(compile((ROOT / "run.py").read_text(encoding="utf-8"), "run.py", "exec"), {"__name__": "run"})
    assert stopped.value.code == 2


def test_it_runs_from_any_folder_and_in_a_python_that_leaves_its_folder_out(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", ROOT / "run.py", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_demo_without_the_model_says_what_is_missing(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "ROOT", tmp_path)
    assert run.main(["demo"]) == 2
    assert "model head is missing" in capsys.readouterr().err
    assert not (tmp_path / ".venv").exists()


def test_the_demo_segments_a_whole_head_and_both_hippocampi_without_a_box(run: ModuleType) -> None:
    for model in ("head", "hippocampus-mr"):
        command = run.segment_command(model)
        assert command[:4] == ["segment", str(run.DEMO_VOLUME), "--model", model]
        assert not [part for part in command if part.startswith("--roi")]
        assert command[command.index("-o") + 1].endswith(f"{model}.seg.nrrd")


def test_an_environment_is_complete_only_with_its_marker(
    environments: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def create(environment) -> None:  # type: ignore[no-untyped-def]
        steps.append("create")
        environment.executable("python").parent.mkdir(parents=True, exist_ok=True)
        environment.executable("python").touch()

    monkeypatch.setattr(environments.Environment, "_create", create)
    monkeypatch.setattr(environments.Environment, "_install", lambda _, locks: steps.append("+".join(locks)))
    environment = environments.Environment(tmp_path / "environment with spaces é")
    environment.ensure(("segment",))
    environment.ensure(("segment",))
    assert steps == ["create", "segment"]
    environment.ensure(("segment", "test"))
    assert steps == ["create", "segment", "test"]
    environment.marker.write_text("half of a mark", encoding="utf-8")
    environment.ensure(("segment",))
    assert steps == ["create", "segment", "test", "create", "segment"]
    monkeypatch.setattr(environments, "lock_digest", lambda name: f"changed {name}")
    environment.ensure(("segment",))
    assert steps[-2:] == ["create", "segment"]
    assert len(steps) == 7


def test_a_failed_installation_leaves_no_marker(
    environments: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments.Environment, "_create", lambda environment: environment.folder.mkdir())
    monkeypatch.setattr(environments.Environment, "_run_pip", lambda *_, **__: 1)
    environment = environments.Environment(tmp_path / "venv")
    with pytest.raises(environments.SetupError, match="pip could not install"):
        environment.ensure(("segment",))
    assert not environment.marker.exists()


def test_the_wheel_is_installed_by_what_it_declares_and_on_linux_with_the_processor_build_of_torch(
    environments: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(environments.sys, "platform", "linux")
    monkeypatch.setattr(environments.Environment, "_create", lambda environment: environment.folder.mkdir())
    monkeypatch.setattr(environments.Environment, "_run_pip", lambda _, *arguments, **__: asked.append(arguments) or 0)
    monkeypatch.setattr(environments.Environment, "_pip_check", lambda environment: None)
    environment, wheel = environments.Environment(tmp_path / "venv"), tmp_path / "mimseg.whl"
    environment.install_as_declared(wheel, "")
    (plain,) = asked
    assert str(wheel) in plain
    assert not {"--no-deps", "--require-hashes", "--requirement", "--no-index"} & set(plain)
    environment.install_as_declared(wheel, "train")
    _, torch, train = asked
    assert f"torch=={environments.TORCH_VERSION}+cpu" in torch
    assert f"{wheel}[train]" in train
    assert not {"--no-deps", "--require-hashes", "--requirement"} & set(train)


def test_pip_is_not_led_astray_by_the_users_settings(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX"):
        monkeypatch.setenv(name, "elsewhere")
    variables = run.Environment(ROOT / ".venv")._variables()
    assert "elsewhere" not in variables.values()
    assert variables["PIP_USER"] == "0"


def test_every_lock_that_run_py_installs_exists(run: ModuleType) -> None:
    assert {path.stem for path in LOCKS} == {*run.EVERYTHING, "torch"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_every_locked_package_has_hashes(lock: Path) -> None:
    packages = locked_packages(lock)
    assert packages
    assert not [name for name, count in packages.items() if count == 0]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_no_lock_holds_cuda_or_telemetry(lock: Path) -> None:
    packages = locked_packages(lock)
    assert not [name for name in packages if FORBIDDEN.match(name)]
    assert lock.stem == "torch" or not [name for name in packages if name.startswith("torch==")]


def test_locks_that_are_installed_together_agree_on_versions(run: ModuleType) -> None:
    versions: dict[str, set[str]] = {}
    for name in run.EVERYTHING:
        for package in locked_packages(ROOT / "requirements" / f"{name}.txt"):
            project, _, rest = package.partition("==")
            versions.setdefault(f"{project};{rest.partition(' ; ')[2]}", set()).add(rest.partition(" ; ")[0])
    assert not {name: found for name, found in versions.items() if len(found) > 1}


def test_the_segmentation_lock_trains_nothing() -> None:
    names = {package.partition("==")[0] for package in locked_packages(ROOT / "requirements" / "segment.txt")}
    assert {"numpy", "simpleitk", "openvino"} <= names
    assert not names & {"torch", "monai", "scipy", "matplotlib", "onnx"}


def test_the_pinned_torch_is_the_locked_torch(environments: ModuleType) -> None:
    assert list(locked_packages(ROOT / "requirements" / "torch.txt")) == [f"torch=={environments.TORCH_VERSION}"]


def test_the_demo_volume_is_the_one_its_readme_describes(run: ModuleType) -> None:
    digest = hashlib.sha256(run.DEMO_VOLUME.read_bytes()).hexdigest()
    assert digest in (SAMPLE_DATA / "README.md").read_text(encoding="utf-8")
    assert "McGill University" in (SAMPLE_DATA / "MNI152_LICENSE.txt").read_text(encoding="utf-8")


def test_the_demo_volume_is_a_whole_head_in_template_space(run: ModuleType) -> None:
    image = sitk.ReadImage(str(run.DEMO_VOLUME))
    assert image.GetSize() == (197, 233, 189)
    assert image.GetSpacing() == (1.0, 1.0, 1.0)
    assert image.GetOrigin() == (98.0, 134.0, -72.0)  # LPS
    assert image.GetDirection() == (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
    # On both sides the fluid of the ventricle behind the hippocampus is dark and the white matter above it bright.
    for side in (-1, 1):
        assert image[image.TransformPhysicalPointToIndex((side * 28.0, 46.0, 8.0))] < 120
        assert image[image.TransformPhysicalPointToIndex((side * 28.0, 10.0, 20.0))] > 200
