"""The extension configured by a real CMake against a small stand-in for Slicer's macros (Testing/module/cmake)."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODULE = ROOT / "MIMSegment"
LIBRARY = Path("lib/Slicer-5.12/qt-scripted-modules")
LEFT_OUT = {"__pycache__", "make_demo_volume.py", "ruff.toml"}

CMAKE = shutil.which("cmake")
GENERATORS = [name for name, program in (("Ninja", "ninja"), ("Unix Makefiles", "make")) if shutil.which(program)]
pytestmark = [
    pytest.mark.skipif(CMAKE is None, reason="cmake is not installed (pip install cmake)"),
    pytest.mark.skipif(not GENERATORS, reason="neither ninja nor make is installed"),
]


def run(*command, check=True, **options):
    """Run a program and return what it says."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    if check and done.returncode:
        pytest.fail(f"{command}: {done.stdout}\n{done.stderr}")
    return done


def configure(source, build, check=True):
    """Configure an extension; nothing of it is compiled, so no compiler is asked for."""
    program = sys.executable
    forced = [f"-DCMAKE_{language}_COMPILER_FORCED=1" for language in ("C", "CXX")]
    forced += [f"-DCMAKE_{language}_COMPILER={Path(program).as_posix()}" for language in ("C", "CXX")]
    slicer = f"-DSlicer_DIR={(Path(__file__).parents[1] / 'cmake').as_posix()}"
    return run(CMAKE, "-G", GENERATORS[0], "-S", source, "-B", build, slicer, *forced, check=check)


def files_below(folder):
    """Relative paths of all files that may be packaged."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {
        path.as_posix()
        for path in found
        if not LEFT_OUT & set(path.parts) and not any(part.startswith(".") for part in path.parts)
    }


def expected_files():
    """What a user's Slicer must receive."""
    wanted = files_below(MODULE) - {"CMakeLists.txt"}
    wanted |= {f"Resources/backend/mimseg/{name}" for name in files_below(ROOT / "backend" / "src" / "mimseg")}
    models = files_below(ROOT / "Resources" / "Models")
    wanted |= {f"Resources/backend/mimseg/shipped_models/{name}" for name in models}
    return wanted | {f"Resources/SampleData/{name}" for name in files_below(ROOT / "Resources" / "SampleData")}


@pytest.fixture(scope="module")
def build_tree(tmp_path_factory):
    build = tmp_path_factory.mktemp("build")
    configure(ROOT, build)
    run(CMAKE, "--build", build)
    return build


@pytest.fixture(scope="module")
def package(build_tree, tmp_path_factory):
    prefix = tmp_path_factory.mktemp("package with space")
    run(CMAKE, "--install", build_tree, "--prefix", prefix, "--component", "RuntimeLibraries")
    return prefix


def test_the_package_holds_every_file_of_the_module_the_backend_the_models_and_the_sample_data(package):
    installed = files_below(package / LIBRARY)
    assert installed == expected_files()


def test_nothing_is_installed_outside_of_the_module_folder(package):
    assert {path.relative_to(package).parts[:3] for path in package.rglob("*") if path.is_file()} == {LIBRARY.parts}


def test_the_build_tree_can_be_used_as_the_package(build_tree):
    assert expected_files() <= files_below(build_tree / LIBRARY)


def test_the_packaged_backend_runs_and_finds_the_shipped_models(package, tmp_path):
    backend = package / LIBRARY / "Resources" / "backend"
    environment = {**os.environ, "PYTHONPATH": str(backend), "MIMSEG_MODELS": str(tmp_path)}
    where = "from mimseg.bundle.locations import shipped_folder; print(shipped_folder())"
    found = run(sys.executable, "-c", where, env=environment, cwd=tmp_path).stdout.strip()
    assert Path(found).samefile(backend / "mimseg" / "shipped_models")
    assert "--model" in run(sys.executable, "-m", "mimseg", "segment", "--help", env=environment, cwd=tmp_path).stdout


def test_the_packaged_demo_volume_is_the_one_that_is_registered(package):
    volume = package / LIBRARY / "Resources" / "SampleData" / "MNI152_T1.nii.gz"
    registered = re.search(
        r"SHA256:([0-9a-f]{64})", (MODULE / "MIMSegmentLib" / "Scene" / "DemoVolume.py").read_text(encoding="utf-8")
    )
    assert registered is not None
    assert hashlib.sha256(volume.read_bytes()).hexdigest() == registered.group(1)


def test_slicer_runs_the_generic_tests_and_the_unit_test_of_the_module(build_tree):
    listed = run(Path(CMAKE).with_name("ctest"), "-N", cwd=build_tree).stdout
    assert "py_nomainwindow_qSlicerMIMSegmentModuleGenericTest" in listed
    assert "py_MIMSegment" in listed


def test_every_script_is_listed():
    lists = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
    for script in MODULE.rglob("*.py"):
        name = script.relative_to(MODULE).as_posix().replace("MIMSegment", "${MODULE_NAME}")
        assert f"  {name}\n" in lists, f"{name} is not in MIMSegment/CMakeLists.txt"


def test_a_listed_file_that_does_not_exist_stops_the_configuration(tmp_path):
    extension = tmp_path / "extension"
    shutil.copytree(MODULE, extension / "MIMSegment", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "CMakeLists.txt", extension)
    (extension / "MIMSegment" / "MIMSegmentLib" / "Panel" / "Widget.py").unlink()
    done = configure(extension, tmp_path / "build", check=False)
    assert done.returncode
    assert "Widget.py" in done.stderr


def test_slicer_reads_the_description_from_the_cmake_variables(build_tree):
    lines = (build_tree / "description.txt").read_text(encoding="utf-8").splitlines()
    described = dict(line.split(" ", 1) for line in lines)
    assert described["DEPENDS"] == "PyTorch"
    assert described["HOMEPAGE"] == "https://github.com/MIMSegment/SlicerMIMSegment"
