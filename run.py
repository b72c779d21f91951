#!/usr/bin/env python3
"""Two commands for a fresh clone: `python3 run.py demo` and `python3 run.py test`.

Only the standard library is needed. Locked packages are installed in `.venv` next to this file and nowhere else; `test`
also makes `.venv-segment`, and `.venv-declared` from nothing but what mimseg's wheel declares, as users' pip does.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if sys.version_info < (3, 10):  # noqa: UP036  before anything that an old Python lacks
    found = platform.python_version()
    sys.stderr.write(f"run.py: this is Python {found}; 3.10 or newer is needed: https://www.python.org/downloads/\n")
    sys.exit(2)

ROOT = Path(__file__).resolve().parent
if str(ROOT) not in sys.path:  # a Python that is told to be safe leaves it out
    sys.path.insert(0, str(ROOT))

from requirements.environments import (  # noqa: E402
    Environment,
    SetupError,
    check_python,
    check_windows_path,
    torch_has_a_wheel,
)
from requirements.qt_libraries import provide_qt_libraries  # noqa: E402

# The second one finds its region by the first.
MODELS = ("head", "hippocampus-mr")
DEMO_VOLUME = ROOT / "Resources" / "SampleData" / "MNI152_T1.nii.gz"
DEMO_OUTPUT = ROOT / "demo-output"

SEGMENT = ("segment",)
SEGMENT_TEST = ("segment", "test")
EVERYTHING = ("segment", "test", "train", "lint", "slicer")
PYTEST = ("-m", "pytest", "--tb=short", "--durations=8")
MOST_WORKERS = 4  # each takes up to 1.5 GB of memory
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # a worker's; threads of several workers would wait for each other


def main(argv: "list[str] | None" = None) -> int:
    """Run one command and return the exit code: 0 done, 1 a check failed, 2 cannot run, 130 stopped."""
    arguments = build_parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="replace")  # type: ignore[union-attr]
    try:
        check_python(sys.version_info[:2])
        return demo() if arguments.command == "demo" else test()
    except SetupError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("run.py: stopped; the next run goes on from here.", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Describe the two commands."""
    parser = argparse.ArgumentParser(prog="run.py", description="Try or test MIMSegment. For research use only.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="{demo,test}")
    commands.add_parser("demo", help="segment a whole brain and both hippocampi (about a minute, 550 MB in .venv)")
    commands.add_parser("test", help="install everything and run all checks (about half an hour, 3.5 GB)")
    return parser


def demo() -> int:
    """Segment the demo volume with the shipped models for heads into `demo-output/`."""
    for model in MODELS:
        if not (ROOT / "Resources" / "Models" / model / "segmentation.json").is_file():
            raise SetupError(f"the model {model} is missing: Resources/Models/{model} has no segmentation.json.")
    if not DEMO_VOLUME.is_file():
        raise SetupError(f"the demo volume is missing: {DEMO_VOLUME}")
    environment = Environment(ROOT / ".venv")
    environment.ensure(SEGMENT)
    environment.install_package()
    DEMO_OUTPUT.mkdir(exist_ok=True)
    for model in MODELS:
        code = environment.mimseg(segment_command(model))
        if code:
            return code
    outputs = [demo_file(model, ending) for ending in ("-preview.png", "-volumes.csv") for model in MODELS]
    print("\nDone. Research use only. Look at", *outputs, sep="\n  ")
    print("and open these together in 3D Slicer (slicer.org):", DEMO_VOLUME, sep="\n  ")
    print(*(f"  {demo_file(model, '.seg.nrrd')}" for model in MODELS), sep="\n")
    print(f"Next: {environment.executable('mimseg')} segment --help")
    return 0


def demo_file(model: str, ending: str) -> Path:
    """Where something that a model makes of the demo volume goes."""
    return DEMO_OUTPUT / f"{model}{ending}"


def segment_command(model: str) -> "list[str]":
    """Return the arguments of `mimseg` that segment the demo volume with a model; no box is needed."""
    extras = ["--table", str(demo_file(model, "-volumes.csv")), "--preview", str(demo_file(model, "-preview.png"))]
    output = ["-o", str(demo_file(model, ".seg.nrrd")), "--replace"]
    return ["segment", str(DEMO_VOLUME), "--model", model, *output, *extras]


def test() -> int:
    """Run the linters, the tests that need no torch where there is none, and all tests."""
    started = time.monotonic()
    check_windows_path(len(str(ROOT)))
    bare, full = Environment(ROOT / ".venv-segment"), Environment(ROOT / ".venv")
    trains = torch_has_a_wheel()
    full.ensure(EVERYTHING if trains else tuple(name for name in EVERYTHING if name != "train"))
    full.install_package()
    without_panel = provide_qt_libraries(full)
    # The tests that need no torch are run twice: where it is missing and mimseg is a wheel, and from a checkout where
    # mimseg finds torch and chooses among more. Only so is it known that neither changes what a user sees.
    linters = [
        ("ruff check", full, ["-m", "ruff", "check", "."]),
        ("ruff format", full, ["-m", "ruff", "format", "--check", "."]),
        ("mypy", full, ["-m", "mypy"]),
    ]
    tests = [
        ("tests without torch", bare, [*PYTEST, *on_all_cores(), "-m", "not train", "Testing"]),
        ("all tests", full, [*PYTEST, *on_all_cores(), "Testing"]),
    ]
    with ThreadPoolExecutor(1) as aside:  # pip waits for the network and the linters use one core
        installed = aside.submit(install_for_segmenting, bare)
        failed = run_checks(linters)
        installed.result()
    failed += run_checks(tests)
    print("\n== demo")
    failed += ["demo"] if demo() else []
    failed += test_documents(full, trains)
    minutes = (time.monotonic() - started) / 60
    print(f"run.py test: {'failed: ' + ', '.join(failed) if failed else 'everything passed'} ({minutes:.1f} minutes)")
    if not trains:
        print("Not tested: training, since PyTorch has no build for Macs with an Intel processor.")
    if without_panel:
        print(f"Not tested: the panel for 3D Slicer. {without_panel}")
    return 1 if failed else 0


def install_for_segmenting(environment: Environment) -> None:
    """Install what segments and the tests, and mimseg as the wheel that users get."""
    environment.ensure(SEGMENT_TEST)
    environment.install_package(editable=False)


def on_all_cores() -> "list[str]":
    """Return pytest's options for a worker on each core; one that has finished takes over tests of another."""
    allowed = getattr(os, "sched_getaffinity", None)
    cores = len(allowed(0)) if allowed else os.cpu_count() or 1
    return ["--numprocesses", str(min(cores, MOST_WORKERS)), "--dist", "worksteal"]


def run_checks(checks: "list[tuple[str, Environment, list[str]]]") -> "list[str]":
    """Run checks, each a name, an environment and arguments of its Python; return the names of those that failed."""
    failed = []
    for name, environment, arguments in checks:
        print(f"\n== {name}")
        began = time.monotonic()
        if environment.python(arguments, ONE_THREAD):
            failed.append(name)
        print(f"({name}: {(time.monotonic() - began) / 60:.1f} minutes)")
    return failed


def test_documents(builder: Environment, trains: bool) -> "list[str]":
    """Install the wheel as users do, by what it declares and without locks, and run the documents' commands there.

    Returns:
        The names of the checks that failed.
    """
    declared, failed = Environment(ROOT / ".venv-declared"), []
    runner = str(ROOT / "Testing" / "documents" / "run_commands.py")
    with tempfile.TemporaryDirectory() as folder:
        wheel = builder.build_wheel(Path(folder))
        for extra in ("", "train") if trains else ("",):
            print(f"\n== commands of the documents, pip install mimseg{f'[{extra}]' if extra else ''}")
            declared.install_as_declared(wheel, extra)
            options = ["--train"] if extra else []
            if builder.python([runner, str(declared.folder), *options]):
                failed.append("commands of the documents" + (", training" if extra else ""))
    return failed


if __name__ == "__main__":
    sys.exit(main())
