"""Who may import whom: the package's layers, and the weight of what segmenting loads."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mimseg

ROOT = Path(mimseg.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


# Parts below commands and above errors, events, stopping; each may import what stands here, and itself.
BASE = {"cache", "errors", "events", "files", "formats", "installation", "memory", "stopping"}
MAY_IMPORT = {
    "cache": {"errors", "files"},
    "memory": {"errors"},
    "errors": set(),
    "installation": set(),
    "events": set(),
    "files": {"errors"},
    "formats": set(),
    "stopping": {"errors"},
    "metrics": set(),
    "computer": {"installation", "stopping"},
    "data": BASE,
    "networks": BASE,
    "bundle": BASE | {"data", "networks"},
    "importers": BASE | {"data", "networks", "bundle"},
    "inference": BASE | {"data", "networks", "bundle"},
    "studies": BASE | {"data", "networks", "metrics", "reports"},
    "checks": BASE | {"data"},
    "training": BASE | {"data", "networks", "bundle", "inference", "metrics"},
    "reports": BASE | {"data"},
    "commands": BASE
    | {"data", "networks", "bundle", "inference", "training", "metrics", "computer", "importers", "studies", "checks"}
    | {"reports"},
    "cli": BASE | {"commands", "training", "networks", "studies"},
    "__main__": {"cli"},
    "library": BASE | {"data", "bundle", "inference", "commands"},
    "__init__": {"library"},  # when one of its names is asked for
}
HEAVY = {"torch", "monai", "lightning", "lightning_fabric", "matplotlib", "scipy", "onnx", "safetensors", "nibabel"}
NEVER = {"slicer", "qt", "vtk", "ctk", "multiprocessing", "socket", "urllib", "http", "requests", "PIL", "psutil"}
# Tables and settings, which the command line and segmenting read.
LIGHT = {"settings", "table", "methods", "unetr_settings", "primus_settings", "dynunet"}
# What trains, exports or runs PyTorch may load it; the rest must work where it is not installed.
MAY_BE_HEAVY = {
    *(path for path in FILES if part_of(path) in ("networks", "training", "importers") and path.stem not in LIGHT),
    *(ROOT / "commands" / f"{name}.py" for name in ("pretrain/run", "finetune/network", "finetune/record")),
    ROOT / "commands" / "models" / "import_weights.py",
    *(ROOT / "bundle" / f"{name}.py" for name in ("writer", "onnx_export", "monai_transforms")),
    ROOT / "inference" / "engines" / "torch_engine.py",
} - {ROOT / "networks" / "__init__.py", ROOT / "networks" / "methods" / "__init__.py"}


def imports(tree: ast.AST, file_scope: bool) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything imported; of `from a import b` both `a` and `a.b`."""
    for node in ast.iter_child_nodes(tree):
        if file_scope and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        yield from imports(node, file_scope)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_files(name: str) -> list[Path]:
    """Files that importing the dotted name runs, as far as they are ours."""
    parts = name.split(".")[1:]
    found = [ROOT.joinpath(*parts[:count], "__init__.py") for count in range(len(parts) + 1)]
    if parts:
        found.append(ROOT.joinpath(*parts[:-1], f"{parts[-1]}.py"))
    return [path for path in found if path.is_file()]


def loaded_with(*names: str) -> dict[Path, set[str]]:
    """Our files that importing `names` runs, each with the foreign packages it imports at file scope."""
    waiting = [path for name in names for path in module_files(name)]
    loaded: dict[Path, set[str]] = {}
    while waiting:
        path = waiting.pop()
        if path in loaded:
            continue
        found = [name for _, name in imports(tree_of(path), file_scope=True)]
        loaded[path] = {name.split(".")[0] for name in found}
        waiting += [file for name in found if name.split(".")[0] == "mimseg" for file in module_files(name)]
    return loaded


def test_every_part_imports_only_parts_below_it():
    wrong = []
    for path in FILES:
        part = part_of(path)
        assert part in MAY_IMPORT, f"{path.relative_to(ROOT)}: say in MAY_IMPORT what the new part may import"
        for line, name in imports(tree_of(path), file_scope=False):
            target = name.split(".")[1] if name.startswith("mimseg.") else ""
            if target and target != "__version__" and target not in MAY_IMPORT[part] | {part}:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_layers_have_no_cycle():
    done: set[str] = set()
    while len(done) < len(MAY_IMPORT):
        ready = {part for part, targets in MAY_IMPORT.items() if part not in done and targets <= done}
        assert ready, f"a cycle among {set(MAY_IMPORT) - done}"
        done |= ready


def circle_in(arrows: dict[str, set[str]]) -> set[str]:
    """What is left when all that points only to what is known already is taken away, again and again."""
    left = {name: set(targets) - {name} for name, targets in arrows.items()}
    while ready := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in ready:
            del left[name]
    return set(left)


def test_rooms_of_commands_and_training_use_each_other_one_way():
    for floor in ("commands", "training"):
        arrows: dict[str, set[str]] = {}
        for path in FILES:
            parts = path.relative_to(ROOT).parts
            if parts[0] != floor or parts[1] == "__init__.py":
                continue
            targets = {name.split(".")[2] for _, name in imports(tree_of(path), file_scope=False)
                       if name.startswith(f"mimseg.{floor}.")}  # fmt: skip
            arrows.setdefault(parts[1].removesuffix(".py"), set()).update(targets)
        assert not circle_in(arrows), f"in {floor}/: {circle_in(arrows)}"


def test_no_files_import_each_other_in_a_circle_not_even_within_functions():
    arrows = {
        str(path.relative_to(ROOT)): {
            str(file.relative_to(ROOT))
            for _, name in imports(tree_of(path), file_scope=False)
            if name.split(".")[0] == "mimseg"
            for file in module_files(name)
            if file.name != "__init__.py"
        }
        for path in FILES
    }
    assert not circle_in(arrows)


def test_the_package_is_imported_in_one_form_only():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for line, name in imports(ast.Module([node], []), file_scope=False)
        if name.startswith(".") or (isinstance(node, ast.Import) and name.startswith("mimseg."))
    ]
    assert not wrong, "write `from mimseg.x import y`:\n" + "\n".join(wrong)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_imports_what_it_must_not(path: Path):
    tree = tree_of(path)
    anywhere = {name.split(".")[0] for _, name in imports(tree, file_scope=False)}
    assert not anywhere & NEVER
    if path not in MAY_BE_HEAVY:
        assert not {name.split(".")[0] for _, name in imports(tree, file_scope=True)} & HEAVY


@pytest.mark.parametrize(
    "name",
    [
        "mimseg",
        "mimseg.library",
        "mimseg.commands.segment.run",
        "mimseg.commands.rank.run",
        "mimseg.commands.measure.run",
        "mimseg.commands.evaluate.run",
        "mimseg.commands.doctor.run",
        "mimseg.bundle.reader",
    ],
)
def test_segmenting_and_evaluating_load_nothing_heavy_even_through_others(name: str):
    heavy = {str(path.relative_to(ROOT)): found & HEAVY for path, found in loaded_with(name).items() if found & HEAVY}
    assert not heavy


def test_command_modules_load_no_array_library_before_they_run():
    files = loaded_with(*(f"mimseg.cli.{path.stem}" for path in (ROOT / "cli").glob("*.py")))
    slow = {path.name: found & (HEAVY | {"numpy", "SimpleITK", "openvino"}) for path, found in files.items()}
    assert not {name: found for name, found in slow.items() if found}


def test_the_doctor_works_without_any_package():
    found = loaded_with("mimseg.commands.doctor.run", "mimseg.cli.doctor")
    assert not {name for names in found.values() for name in names} & (HEAVY | {"numpy", "SimpleITK", "openvino"})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_prints_asserts_or_exits(path: Path):
    tree = tree_of(path)
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert "print" not in calls, "results go through Reporter or cli.output.print_out"
    assert "sys.exit" not in calls or part_of(path) in ("cli", "__main__")
    assert not any(isinstance(node, ast.Assert) for node in ast.walk(tree)), "asserts vanish under python -O"


def test_the_check_itself_sees_planted_imports():
    planted = ast.parse(
        "import torch\nfrom scipy import ndimage\ntry:\n    import monai.losses\nexcept ImportError: pass\n"
        "class A:\n    import matplotlib\ndef f():\n    import onnx\nfrom . import sibling\n"
    )
    at_file_scope = {name.split(".")[0] for _, name in imports(planted, file_scope=True)}
    assert {"torch", "scipy", "monai", "matplotlib"} <= at_file_scope
    assert "onnx" not in at_file_scope
    assert "onnx" in {name for _, name in imports(planted, file_scope=False)}
    assert any(name.startswith(".") for _, name in imports(planted, file_scope=False))
    assert set(loaded_with("mimseg.cli.main")) >= {ROOT / "cli" / "main.py", ROOT / "errors.py", ROOT / "__init__.py"}
