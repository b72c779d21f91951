"""The command line: help, exit codes, and what happens to errors of every kind."""

from __future__ import annotations

import argparse
import errno
import importlib
import json
import re
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cli_tools import python_environment, start

from mimseg import __version__, stopping
from mimseg.cli import failures
from mimseg.cli import main as main_module
from mimseg.cli.main import COMMANDS, build_parser, main
from mimseg.errors import OutOfMemory, Stopped, UserError
from mimseg.events import Reporter


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch):
    """Replaces `mimseg doctor` by a function."""

    def replace(run: Any) -> None:
        module = SimpleNamespace(HELP="x", EPILOG="", add_arguments=lambda parser: None, run=run)
        monkeypatch.setattr(main_module, "_load", lambda name: module)

    return replace


def raiser(fault: BaseException) -> Any:
    def run(arguments: argparse.Namespace, reporter: Reporter) -> None:
        raise fault

    return run


def test_help_of_every_command_shows_an_example(capsys: pytest.CaptureFixture):
    for name in COMMANDS:
        assert main([name, "--help"]) == 0
        text = capsys.readouterr().out
        assert f"mimseg {name} " in text.split("example", 1)[1]


@pytest.mark.parametrize("name", ["finetune", "pretrain", "study"])
def test_long_commands_show_everyday_options_first_and_all_when_asked(name: str, capsys: pytest.CaptureFixture):
    assert main([name, "--help"]) == 0
    short = capsys.readouterr().out
    assert main([name, "--help-all"]) == 0
    whole = capsys.readouterr().out
    module = importlib.import_module(f"mimseg.cli.{name}")
    listed = set(re.findall(r"^ .*?(--[a-z-]+)", short.split("\noptions:")[1].split("\nexample")[0], re.MULTILINE))
    assert listed == {*module.EVERYDAY, "--help", "--help-all"}
    assert len(module.EVERYDAY) == 12
    # Whatever is declared is in the whole help.
    plain = argparse.ArgumentParser(add_help=False)
    module.add_arguments(plain)
    assert set(re.findall(r"--[a-z-]+", plain.format_usage())) <= set(re.findall(r"--[a-z-]+", whole))
    assert f"mimseg {name} --help-all" in short


@pytest.mark.parametrize("command", ["segment", "rank"])
@pytest.mark.parametrize("box", ["-45,-5,-40,6,-33,15", "-.5,1,2,3,4,5", "-1e1,1,2,3,4,5"])
def test_a_box_that_begins_with_a_minus_needs_no_equals_sign(command: str, box: str):
    parsed = build_parser(command).parse_args([command, "a.nii", "-m", "m", "-o", "out", "--roi", box, "--frame", "1"])
    assert (parsed.roi, parsed.frame) == ([box], 1)


def test_general_help_lists_all_commands_and_says_research_use_only(capsys: pytest.CaptureFixture):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "research use only" in text
    assert all(f"\n    {name} " in text for name in COMMANDS)
    assert "exit codes: 0 done" in text


def test_version_is_printed(capsys: pytest.CaptureFixture):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mimseg {__version__}\n"


def test_help_answers_at_once_and_imports_nothing_heavy():
    body = (
        "import sys, time; start = time.process_time(); from mimseg.cli.main import main; main(['--help']);"
        "heavy = {'numpy', 'SimpleITK', 'openvino', 'torch', 'monai', 'scipy', 'matplotlib'} & set(sys.modules);"
        "print(heavy, time.process_time() - start, file=sys.stderr)"
    )
    _, errors = start("-c", body).communicate(timeout=60)
    heavy, seconds = errors.rsplit(maxsplit=1)
    assert heavy == "set()"
    assert float(seconds) < 0.3


def test_no_command_prints_help_and_is_bad_usage(capsys: pytest.CaptureFixture):
    assert main([]) == 2
    assert "usage: mimseg" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["fly"], ["evaluate"], ["evaluate", "--pred", "a", "--ref", "b", "-o", "c", "--wrong"], ["--wrong"]]
)
def test_bad_usage_ends_with_2_and_one_message(arguments: list[str], capsys: pytest.CaptureFixture):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Error: ")
    assert "--help`" in captured.err


def test_bad_usage_is_told_in_json_too(capsys: pytest.CaptureFixture):
    assert main(["evaluate", "--json-lines"]) == 2
    captured = capsys.readouterr()
    event = json.loads(captured.out)
    assert (event["event"], event["code"]) == ("error", "usage")
    assert captured.err == ""


def test_options_cannot_be_abbreviated(capsys: pytest.CaptureFixture):
    assert main(["evaluate", "--pre", "a", "--ref", "b", "-o", "c"]) == 2


def test_only_the_module_of_the_given_command_is_imported(monkeypatch: pytest.MonkeyPatch):
    loaded = []
    original = main_module._load
    monkeypatch.setattr(main_module, "_load", lambda name: loaded.append(name) or original(name))
    build_parser("doctor")
    assert loaded == ["doctor"]


@pytest.mark.parametrize(
    ("fault", "exit_code", "code"),
    [
        (UserError("x.nii is empty.", "Take another.", "empty"), 2, "empty"),
        (OutOfMemory("Too big."), 3, "out-of-memory"),
        (Stopped(), 130, "stopped"),
        (KeyboardInterrupt(), 130, "stopped"),
        (MemoryError(), 3, "out-of-memory"),
        (np.exceptions.AxisError("x"), 1, "bug"),
        (RuntimeError("Exception from src/inference: std::bad_alloc"), 3, "out-of-memory"),
        (RuntimeError("CUDA error: out of memory"), 3, "out-of-memory"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
            3,
            "out-of-memory",
        ),
        (RuntimeError("Failed to allocate memory for image."), 3, "out-of-memory"),
        (RuntimeError("something else"), 1, "bug"),
        (OSError(errno.ENOSPC, "No space left on device", "out.nii.gz"), 2, "disk-full"),
        (PermissionError(errno.EACCES, "Permission denied", "out.nii.gz"), 2, "no-access"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2, "missing-package"),
        (ModuleNotFoundError("No module named 'torch._C'", name="torch._C"), 2, "broken-package"),
        (ImportError("libopenvino.so: cannot open", name="openvino"), 2, "broken-package"),
        (ModuleNotFoundError("No module named 'typo'", name="typo"), 1, "bug"),
        (SystemExit(5), 1, "bug"),
    ],
)
def test_every_error_has_its_exit_code_and_no_traceback(
    command: Any, capsys: pytest.CaptureFixture, fault: BaseException, exit_code: int, code: str, tmp_path, monkeypatch
):
    monkeypatch.setattr(failures.tempfile, "tempdir", str(tmp_path))
    command(raiser(fault))
    assert main(["doctor", "--json-lines"]) == exit_code
    captured = capsys.readouterr()
    assert json.loads(captured.out)["code"] == code
    assert "Traceback" not in captured.out + captured.err
    assert len(list(tmp_path.glob("mimseg-error-*.log"))) == (1 if code == "bug" else 0)


def test_out_of_memory_of_itk_and_numpy_is_recognised_as_they_really_look():
    import SimpleITK as sitk

    with pytest.raises((RuntimeError, MemoryError)) as caught:
        sitk.Image([60000, 60000, 60000], sitk.sitkFloat64)
    assert failures.is_out_of_memory(caught.value)
    with pytest.raises(MemoryError) as numpy_fault:
        np.empty((1 << 24, 1 << 24), np.float64)
    assert failures.is_out_of_memory(numpy_fault.value)


@pytest.mark.train
def test_torch_out_of_memory_is_recognised_as_it_really_looks():
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as caught:
        torch.empty((1 << 24, 1 << 24))
    assert failures.is_out_of_memory(caught.value)


def test_bug_log_holds_the_traceback_and_the_message_names_it(command: Any, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(failures.tempfile, "tempdir", str(tmp_path))
    command(raiser(ZeroDivisionError("division by zero")))
    assert main(["doctor", "--quiet"]) == 1
    (log,) = tmp_path.glob("mimseg-error-*.log")
    assert str(log) in capsys.readouterr().err
    text = log.read_text(encoding="utf-8")
    assert "Traceback" in text
    assert "ZeroDivisionError: division by zero" in text
    assert "arguments: ['doctor', '--quiet']" in text


def test_file_names_that_the_console_cannot_show_do_not_break_the_message(tmp_path):
    missing = str(tmp_path / "größe-脑\udcff.nii.gz").encode("utf-8", "surrogateescape")
    process = subprocess.run(
        [sys.executable, "-m", "mimseg", "evaluate", "--pred", missing, "--ref", ".", "-o", "x"],
        env={**python_environment(), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        cwd=tmp_path,
    )
    assert process.returncode == 2
    assert b"does not exist" in process.stderr
    assert not process.stdout


def test_handlers_are_put_back_and_an_earlier_stop_is_forgotten(command: Any):
    before = signal.getsignal(signal.SIGINT)
    stopping.request()
    command(lambda arguments, reporter: stopping.check())
    assert main(["doctor", "--quiet"]) == 0
    assert signal.getsignal(signal.SIGINT) is before


def test_main_runs_outside_the_main_thread(command: Any):
    command(lambda arguments, reporter: None)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(main(["doctor", "--quiet"])))
    thread.start()
    thread.join(10)
    assert codes == [0]


def test_results_go_to_stdout_and_errors_to_stderr(tmp_path):
    process = start("-m", "mimseg", "evaluate", "--pred", "missing", "--ref", ".", "-o", "x", cwd=tmp_path)
    out, errors = process.communicate(timeout=60)
    assert (out, process.returncode) == ("", 2)
    assert "Error: missing does not exist.\n  What to do: Check the path.\n" in errors
