"""Which Python runs the backend, where it lies, and with which environment."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from logic_tools import FOLDER, ROOT

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")

from MIMSegmentLib.Process.Backend import Backend


def make_backend(folder):
    package = folder / "mimseg"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("import sys; print('bundled', sys.argv[1:])")
    return folder


def test_a_checkout_runs_its_own_backend():
    assert Path(Backend(str(ROOT / "MIMSegment")).sourceFolder()) == ROOT / "backend" / "src"


@pytest.mark.parametrize("place", ["Resources/backend", "Resources/MIMSegment/backend"])
def test_an_installed_module_runs_the_bundled_backend(tmp_path, place):
    folder = make_backend(tmp_path / FOLDER / place)
    assert Path(Backend(str(tmp_path / FOLDER)).sourceFolder()) == folder


def test_the_command_runs_the_bundled_backend(tmp_path):
    make_backend(tmp_path / FOLDER / "Resources" / "backend")
    program, arguments, environment = Backend(str(tmp_path / FOLDER)).command(["ä", "b c"])
    done = subprocess.run(
        [program, *arguments], env=environment, capture_output=True, encoding="utf-8", cwd=tmp_path, check=True
    )
    assert done.stdout.strip() == "bundled ['ä', 'b c']"


def test_slicers_python_is_found_by_its_name(tmp_path, monkeypatch):
    name = tmp_path / ("PythonSlicer.exe" if os.name == "nt" else "PythonSlicer")
    name.write_text("")
    name.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + os.environ["PATH"])
    assert os.path.normcase(Backend().python()) == os.path.normcase(str(name))


def test_slicers_own_paths_stay_behind_the_backend(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["a", "b"]))
    paths = Backend().environment()["PYTHONPATH"].split(os.pathsep)
    assert paths == [Backend().sourceFolder(), "a", "b"]


def test_a_python_of_the_users_gets_a_clean_environment(monkeypatch):
    startup = {"PATH": "p", "PYTHONHOME": "slicer", "PYTHONPATH": "slicer", "PYTHONNOUSERSITE": "1", "MINE": "1"}
    monkeypatch.setenv("LD_LIBRARY_PATH", "slicer")
    backend = Backend(interpreter=sys.executable, startupEnvironment=lambda: startup)
    environment = backend.environment()
    assert environment["PYTHONPATH"] == backend.sourceFolder()
    assert "PYTHONHOME" not in environment
    assert "PYTHONNOUSERSITE" not in environment
    assert "LD_LIBRARY_PATH" not in environment
    assert environment["MINE"] == "1"
    assert backend.python() == sys.executable
    assert startup["PYTHONHOME"] == "slicer"


def test_a_python_of_the_users_that_is_gone_is_told_with_a_remedy(tmp_path):
    message, hint = Backend(interpreter=str(tmp_path / "python")).problem()
    assert str(tmp_path / "python") in message
    assert hint


def test_a_module_without_a_backend_is_told_with_a_remedy(tmp_path):
    message, hint = Backend(str(tmp_path)).problem()
    assert message
    assert hint


def test_nothing_speaks_against_the_backend_of_a_checkout():
    assert Backend().problem() is None


def test_models_are_kept_where_the_backend_looks_for_them(monkeypatch, tmp_path):
    from mimseg.bundle.locations import user_folder

    monkeypatch.delenv("MIMSEG_MODELS", raising=False)
    assert Path(Backend.modelsFolder()) == user_folder()
    monkeypatch.setenv("MIMSEG_MODELS", str(tmp_path / FOLDER))
    assert Path(Backend.modelsFolder()) == user_folder()
    monkeypatch.setenv("MIMSEG_MODELS", "~/x")
    assert Path(Backend.modelsFolder()) == user_folder()


# What 3D Slicer ships, besides the standard library.
SHIPPED = {"qt", "ctk", "slicer", "vtk", "numpy", "SimpleITK", "MIMSegmentLib"}


def imports_of(path):
    """`(name of the top package, whether it is imported with the file)` for all imports of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(node) for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        for name in names:
            yield name.partition(".")[0], id(node) not in inside


@pytest.mark.parametrize("path", sorted((ROOT / "MIMSegment").rglob("*.py")), ids=lambda path: path.stem)
def test_the_module_imports_what_slicer_ships_and_never_the_backend(path):
    found = list(imports_of(path))
    at_file_scope = {name for name, early in found if early}
    assert at_file_scope <= SHIPPED | set(sys.stdlib_module_names)
    assert not {name for name, _early in found} & {"torch", "monai", "openvino", "mimseg", "onnx", "matplotlib"}
