"""What `run.py test` runs, and where."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from cli_tools import run_program

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def run() -> ModuleType:
    return run_program()


@pytest.fixture
def checks_run(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str], dict]]:
    """What `run.py test` starts, as if all were installed: the environment's folder, arguments, variables."""
    started: list[tuple[str, list[str], dict]] = []

    class Installed(run.Environment):  # type: ignore[name-defined]
        def ensure(self, locks: tuple[str, ...]) -> None:
            pass

        def install_package(self, editable: bool = True) -> None:
            pass

        def python(self, arguments: list[str], more_variables: dict[str, str] | None = None) -> int:
            started.append((self.folder.name, arguments, more_variables or {}))
            return int("mypy" in arguments)

    monkeypatch.setattr(run, "Environment", Installed)
    monkeypatch.setattr(run, "provide_qt_libraries", lambda _: "")
    monkeypatch.setattr(run, "demo", lambda: 0)
    monkeypatch.setattr(run, "test_documents", lambda *_: [])
    return started


def test_all_tests_are_run_with_and_without_torch_each_worker_on_a_core(
    run: ModuleType, checks_run: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run.os, "sched_getaffinity", lambda _: {0, 5}, raising=False)
    assert run.main(["test"]) == 1
    assert "run.py test: failed: mypy (" in capsys.readouterr().out
    assert [arguments[1] for _, arguments, _ in checks_run] == ["ruff", "ruff", "mypy", "pytest", "pytest"]
    bare, full = checks_run[3:]
    assert (bare[0], full[0]) == (".venv-segment", ".venv")
    assert bare[1][-2:] == ["not train", "Testing"]
    assert "-m" not in full[1][1:]  # nothing is deselected
    assert "-k" not in bare[1] + full[1]
    for _, arguments, variables in (bare, full):
        assert arguments[arguments.index("--numprocesses") + 1] == "2"
        assert variables == {"OMP_NUM_THREADS": "1"}


def test_few_workers_are_started_on_a_computer_with_many_cores(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert run.on_all_cores()[1] == "4"
    monkeypatch.delattr(run.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(run.os, "cpu_count", lambda: None)
    assert run.on_all_cores()[1] == "1"


def test_an_installation_that_fails_beside_the_linters_is_told(
    run: ModuleType, checks_run: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(environment: object) -> None:
        raise run.SetupError("no network")

    monkeypatch.setattr(run, "install_for_segmenting", fail)
    assert run.main(["test"]) == 2
    assert "run.py: no network" in capsys.readouterr().err
    assert "pytest" not in [arguments[1] for _, arguments, _ in checks_run]


def test_documents_are_run_without_torch_first_and_then_with_it(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    class Builder:
        """An environment whose documents' commands fail where PyTorch is there."""

        def build_wheel(self, folder: Path) -> Path:
            return folder / "mimseg.whl"

        def python(self, arguments: list[str]) -> int:
            steps.append("run " + arguments[-1])
            return int(arguments[-1] == "--train")

    monkeypatch.setattr(run.Environment, "install_as_declared", lambda _, wheel, extra: steps.append(extra or "plain"))
    failed = run.test_documents(Builder(), True)
    assert steps == ["plain", f"run {ROOT / '.venv-declared'}", "train", "run --train"]
    assert failed == ["commands of the documents, training"]
    steps.clear()
    assert run.test_documents(Builder(), False) == []
    assert "train" not in steps
