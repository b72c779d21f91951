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

MODEL = "hippocampus-mr"
DEMO_VOLUME = ROOT / "Resources" / "SampleData" / "MNI152_temporal_lobes_T1.nii.gz"
DEMO_OUTPUT = ROOT / "demo-output"
# Boxes around the left and the right hippocampus: x0,x1,y0,y1,z0,z1 in mm, RAS as 3D Slicer shows them.
DEMO_BOXES = ("-46,-10,-46,6,-33,5", "10,46,-46,6,-33,5")

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
    commands.add_parser("demo", help="segment both hippocampi of a template brain (about a minute, 550 MB in .venv)")
    commands.add_parser("test", help="install everything and run all checks (up to 25 minutes, 3.5 GB)")
    return parser


def demo() -> int:
    """Segment the demo volume with the shipped model into `demo-output/`."""
    if not (ROOT / "Resources" / "Models" / MODEL / "segmentation.json").is_file():
        raise SetupError(f"the model {MODEL} is missing: Resources/Models/{MODEL} has no segmentation.json.")
    if not DEMO_VOLUME.is_file():
        raise SetupError(f"the demo volume is missing: {DEMO_VOLUME}")
    environment = Environment(ROOT / ".venv")
    environment.ensure(SEGMENT)
    environment.install_package()
    DEMO_OUTPUT.mkdir(exist_ok=True)
    labelmap = DEMO_OUTPUT / "hippocampus.nii.gz"
    segmentation = DEMO_OUTPUT / "hippocampus.seg.nrrd"
    table, preview = DEMO_OUTPUT / "volumes.csv", DEMO_OUTPUT / "preview.png"
    extras = ["--table", str(table), "--preview", str(preview)]
    for output, options in ((labelmap, extras), (segmentation, [])):
        code = environment.mimseg(segment_command(output, options))
        if code:
            return code
    print(f"\nDone. Research use only. Look at\n  {preview}\n  {table}")
    print(f"and open these together in 3D Slicer (slicer.org):\n  {DEMO_VOLUME}\n  {segmentation}")
    print(f"  (the same labels for any other viewer: {labelmap})")
    print(f"Next: {environment.executable('mimseg')} segment --help")
    return 0


def segment_command(output: Path, options: "list[str]") -> "list[str]":
    """Return the arguments of `mimseg` that segment both hippocampi of the demo volume."""
    boxes = [f"--roi={box}" for box in DEMO_BOXES]
    return ["segment", str(DEMO_VOLUME), "--model", MODEL, *boxes, "-o", str(output), *options]


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
        if environment.python(arguments, ONE_THREAD):
            failed.append(name)
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
