"""Commands that install mimseg name where it came from, and never a package of an index."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import mimseg
from mimseg import installation
from mimseg.errors import UserError
from mimseg.inference import engines

BACKEND = Path(__file__).resolve().parents[3] / "backend"
PACKAGE = Path(mimseg.__file__).parent


def from_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: dict | None) -> None:
    """As if mimseg had been installed from `origin` (`direct_url.json`), or from nowhere known."""
    monkeypatch.setattr(installation, "__file__", str(tmp_path / "site-packages" / "mimseg" / "installation.py"))
    text = None if origin is None else json.dumps(origin)
    monkeypatch.setattr(
        installation.metadata, "distribution", lambda name: SimpleNamespace(read_text=lambda file: text)
    )


def test_a_checkout_names_its_own_folder():
    if PACKAGE.parents[1] != BACKEND:
        pytest.skip("mimseg is installed as a wheel here")
    assert installation.origin("train") == f'"{BACKEND}[train]"'
    assert installation.remedy("train").endswith(f'-m pip install "{BACKEND}[train]"')


@pytest.mark.parametrize("name", ["backend", "Ordner mit Umläuten & Leerzeichen"])
def test_the_folder_or_wheel_that_pip_was_given_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / name
    from_elsewhere(monkeypatch, tmp_path, {"url": folder.as_uri(), "dir_info": {}})
    assert installation.remedy("train") == installation.DOCUMENTATION  # it is gone
    folder.mkdir()
    assert installation.origin("train") == f'"{folder}[train]"'
    assert installation.origin() == f'"{folder}"'


def test_a_repository_is_named_with_its_revision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    vcs = {"vcs": "git", "requested_revision": "v1", "commit_id": "0" * 40}
    described = {"url": "https://example.org/mim.git", "vcs_info": vcs, "subdirectory": "backend"}
    from_elsewhere(monkeypatch, tmp_path, described)
    assert installation.origin("train") == '"mimseg[train] @ git+https://example.org/mim.git@v1#subdirectory=backend"'


def test_drive_letters_of_windows_are_understood():
    assert installation._local_path("file:///C:/Program%20Files/mim").as_posix() == "C:/Program Files/mim"


@pytest.mark.parametrize("described", [None, {}, {"url": "file:///no/such/folder", "dir_info": {}}])
def test_an_unknown_origin_points_to_the_documentation(
    described: dict | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    from_elsewhere(monkeypatch, tmp_path, described)
    assert installation.remedy("train") == installation.DOCUMENTATION
    assert (BACKEND.parent / "docs" / "installation.md").is_file()


def test_no_text_of_the_program_names_mimseg_as_a_package_of_an_index():
    wrong = [
        f"{path.name}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"(pip|uv) install [^`]*[\"' ]mimseg\b", line) or re.search(r"mimseg\[\w+\](?! @|\{)", line)
    ]
    assert wrong == []


def test_without_any_engine_openvino_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engines, "_installed", lambda package: False)
    bundle = SimpleNamespace()
    with pytest.raises(UserError) as raised:
        engines.open_engine(bundle)  # type: ignore[arg-type]
    assert "OpenVINO" in raised.value.message
    assert "--device" not in raised.value.message
    assert "pip install" in raised.value.hint or raised.value.hint == installation.DOCUMENTATION


def test_the_command_that_is_proposed_installs_from_that_place(tmp_path: Path):
    """pip understands it; nothing is installed and no index is asked."""
    source = tmp_path / "with spaces é"
    shutil.copytree(BACKEND, source, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--no-index", "--no-build-isolation"]
    pytest.importorskip("hatchling")
    command.append(f"{source}[train]")
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    assert done.returncode == 0, done.stderr
