"""The module's wings: what is seen may import what runs, and that the backend and the scene, never the other way."""

import ast
import re
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[3] / "MIMSegment"
LIBRARY = MODULE / "MIMSegmentLib"
# A wing imports itself, those after it, and what all share.
WINGS = ("Panel", "Runs", "Process", "Scene")
SHARED = {"Files", "Problem", "Signal", "Parameters"}
MANY = 15


def parts_imported(path):
    """Wings, and files that belong to none, that a file imports from MIMSegmentLib."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("MIMSegmentLib"):
            names = [node.module] if node.module.count(".") else [f"MIMSegmentLib.{name.name}" for name in node.names]
            found |= {name.split(".")[1] for name in names}
    return found


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_imports_only_those_after_it_and_what_all_share(wing):
    allowed = {*WINGS[WINGS.index(wing) :], *SHARED}
    files = sorted((LIBRARY / wing).rglob("*.py"))
    folders = [path.parent for path in files]
    assert max(folders.count(folder) for folder in folders) <= MANY
    wrong = {path.name: parts_imported(path) - allowed for path in files}
    assert not {name: parts for name, parts in wrong.items() if parts}


def test_what_all_share_imports_no_wing_and_the_logic_not_the_panel():
    for name in SHARED:
        assert not parts_imported(LIBRARY / f"{name}.py") & set(WINGS)
    assert "Panel" not in parts_imported(LIBRARY / "Logic.py")
    assert {path.stem for path in LIBRARY.glob("*.py")} == {*SHARED, "Logic", "SelfTest", "__init__"}


@pytest.mark.parametrize("option", ["reducedPrecision"])
def test_a_control_for_an_option_of_the_backend_touches_three_files(option):
    files = [path for ending in ("*.py", "*.ui") for path in MODULE.rglob(ending)]
    naming = {path.name for path in files if re.search(rf"\b{option}\b", path.read_text(encoding="utf-8"))}
    assert naming == {"MIMSegment.ui", "Parameters.py", "Command.py"}
