"""What the package imports is what it declares: plain dependencies, and the extras `train` and `dicom`."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

import mimseg
from mimseg.cli.requirements import TRAINING_PACKAGES
from mimseg.computer.packages import REQUIREMENTS
from mimseg.computer.probe import PARTS_USED

ROOT = Path(mimseg.__file__).parent
PYPROJECT = Path(__file__).resolve().parents[3] / "backend" / "pyproject.toml"
# Declared, but imported by other packages only: torch.onnx.export, and MONAI's transformer blocks.
INDIRECT = {"onnxscript", "einops"}


def declared() -> dict[str, list[str]]:
    """Requirements by runtime: `segment` for the plain dependencies, and the extras."""
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    return {"segment": project["dependencies"], **project["optional-dependencies"]}


def distribution(requirement: str) -> str:
    return re.split(r"[<>=!~ ;\[]", requirement)[0].lower()


def foreign_imports(path: Path) -> Iterator[str]:
    """Dotted names of the modules of others that a file imports anywhere, those for type checkers left out."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names = [part.value for part in node.args[:1] if isinstance(part, ast.Constant)]
        for name in names:
            if name.split(".")[0] not in sys.stdlib_module_names | {"mimseg", "__future__"}:
                yield name
        waiting.extend(ast.iter_child_nodes(node))


def all_imports() -> dict[str, set[Path]]:
    found: dict[str, set[Path]] = {}
    for path in ROOT.rglob("*.py"):
        for name in foreign_imports(path):
            found.setdefault(name, set()).add(path)
    return found


def module_distributions() -> dict[str, str]:
    """Top-level module to distribution, of everything that the doctor lists."""
    return {requirement.module: requirement.name.lower() for requirement in REQUIREMENTS}


def test_every_import_is_declared_and_every_declared_package_is_imported():
    known = module_distributions()
    imported = {name.split(".")[0] for name in all_imports()}
    assert imported - known.keys() == set(), "imported, but not declared"
    listed = {distribution(each) for runtime in ("segment", "train", "dicom") for each in declared()[runtime]}
    assert {known[name] for name in imported} | INDIRECT == listed


def test_what_segmenting_imports_is_a_plain_dependency():
    plain = {distribution(each) for each in declared()["segment"]}
    heavy = {each.module for each in REQUIREMENTS if each.purpose == "train"}
    allowed = {each.module for each in REQUIREMENTS if each.name.lower() in plain}
    for room in ("data", "inference", "metrics", "checks"):
        for path in (ROOT / room).rglob("*.py"):
            found = {name.split(".")[0] for name in foreign_imports(path)}
            if path.relative_to(ROOT / room).as_posix() not in ("engines/torch_engine.py", "engines/__init__.py"):
                assert not found & heavy, path
            assert found <= allowed | heavy | ({"highdicom"} if "dicom" in str(path.relative_to(ROOT)) else set()), path


def test_the_doctor_lists_what_is_declared():
    for purpose in ("segment", "train", "dicom"):
        listed = {each.split(" ;")[0] for each in declared()[purpose] if "platform_machine == 'x86_64'" not in each}
        assert {f"{each.name}>={each.minimum}" for each in REQUIREMENTS if each.purpose == purpose} == listed


def test_the_doctor_tries_every_part_that_is_imported():
    modules = {each.module for each in REQUIREMENTS}
    assert set(PARTS_USED) == modules
    imported = {name for name in all_imports() if "." in name and name.split(".")[0] != "openvino"}
    assert imported <= {part for parts in PARTS_USED.values() for part in parts}


def test_training_asks_first_for_all_that_its_extra_declares():
    known = module_distributions()
    assert {known[name] for name in TRAINING_PACKAGES} == {distribution(each) for each in declared()["train"]}


def test_intel_macs_get_the_last_openvino_that_exists_for_them():
    lines = [each for each in declared()["segment"] if each.startswith("openvino")]
    assert len(lines) == 2
    packaging = pytest.importorskip("packaging.requirements")
    intel = {"sys_platform": "darwin", "platform_machine": "x86_64"}
    for environment, wanted in ((intel, "==2025.4.1"), ({**intel, "platform_machine": "arm64"}, ">=2025.4")):
        fitting = [each for each in map(packaging.Requirement, lines) if each.marker.evaluate(environment)]
        assert [str(each.specifier) for each in fitting] == [wanted]


def test_the_installed_metadata_are_those_of_this_source():
    """Else `pip install` of this copy was forgotten, and commands would advise what is not so."""
    try:
        requires = metadata.requires("mimseg") or []
    except metadata.PackageNotFoundError:
        pytest.skip("mimseg is not installed but on the search path")
    assert {distribution(each) for each in declared()["segment"]} <= {distribution(each) for each in requires}
