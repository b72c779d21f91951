#!/usr/bin/env python3
"""Two commands for a fresh clone: `python3 run.py demo` and `python3 run.py test`.

Only the standard library is needed. Locked packages are installed in `.venv` next to this file and nowhere else; `test`
also makes `.venv-segment`, and `.venv-declared` from nothing but what mimseg's wheel declares, as users' pip does.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OLDEST, NEWEST = (3, 10), (3, 14)
if sys.version_info < OLDEST:  # here, before any call that an old Python lacks
    found = platform.python_version()
    sys.stderr.write(f"run.py: this is Python {found}; 3.10 or newer is needed: https://www.python.org/downloads/\n")
    sys.exit(2)

ROOT = Path(__file__).resolve().parent
LOCKS = ROOT / "requirements"
BACKEND = ROOT / "backend"
MODEL = "hippocampus-mr"
DEMO_VOLUME = ROOT / "Resources" / "SampleData" / "MNI152_temporal_lobes_T1.nii.gz"
DEMO_OUTPUT = ROOT / "demo-output"
# Boxes around the left and the right hippocampus: x0,x1,y0,y1,z0,z1 in mm, RAS as 3D Slicer shows them.
DEMO_BOXES = ("-46,-10,-46,6,-33,5", "10,46,-46,6,-33,5")
# The builds without CUDA; the Linux wheels of the Python package index bring gigabytes of it.
TORCH_VERSION = "2.13.0"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
MARKER = "mimseg-environment.json"

# What Qt needs of a Linux system beside its wheel: library -> package of Debian and Ubuntu.
QT_LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11.so.6": "libx11-6",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libzstd.so.1": "libzstd1",
}
TRY_LIBRARIES = """
import ctypes, sys
for name in sys.argv[1:]:
    try:
        ctypes.CDLL(name)
    except OSError:
        print(name)
"""

SEGMENT = ("segment",)
SEGMENT_TEST = ("segment", "test")
EVERYTHING = ("segment", "test", "train", "lint", "slicer")


class SetupError(Exception):
    """Something outside this program prevents the command; the message says what and how to mend it."""


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


def check_python(version: "tuple[int, ...]") -> None:
    """Refuse a Python for which the locked packages have no wheels.

    Raises:
        SetupError: the version is outside 3.10 to 3.14, or this is a 32-bit Python.
    """
    if not OLDEST <= tuple(version[:2]) <= NEWEST:
        found = ".".join(str(part) for part in version[:2])
        raise SetupError(f"this is Python {found}; the locked packages need Python 3.10 to 3.14.")
    if sys.maxsize < 2**32:
        raise SetupError("this is a 32-bit Python; install the 64-bit one from https://www.python.org/downloads/")


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
    bare.ensure(SEGMENT_TEST)
    bare.install_package(editable=False)
    trains = torch_has_a_wheel()
    full.ensure(EVERYTHING if trains else tuple(name for name in EVERYTHING if name != "train"))
    full.install_package()
    without_panel = provide_qt_libraries(full)
    python = ["-m", "pytest", "--tb=short", "--durations=8"]
    checks = [
        ("ruff check", full, ["-m", "ruff", "check", "."]),
        ("ruff format", full, ["-m", "ruff", "format", "--check", "."]),
        ("mypy", full, ["-m", "mypy"]),
        ("tests without torch", bare, [*python, "-m", "not train", "Testing"]),
        ("all tests", full, [*python, "Testing"]),
    ]
    failed = []
    for name, environment, arguments in checks:
        print(f"\n== {name}")
        if environment.python(arguments):
            failed.append(name)
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


def test_documents(builder: "Environment", trains: bool) -> "list[str]":
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


def provide_qt_libraries(environment: "Environment") -> str:
    """Install the system libraries that Qt lacks where this program may; else return what to do, or nothing."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return ""
    missing = environment.missing_libraries()
    if missing and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        packages = [QT_LIBRARIES[name] for name in missing]
        print(f"Installing system libraries for Qt: {' '.join(packages)} ...")
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            subprocess.run(["apt-get", "-qq", *arguments], stdin=subprocess.DEVNULL, check=False)
        missing = environment.missing_libraries()
    if not missing:
        return ""
    packages = [QT_LIBRARIES[name] for name in missing]
    text = (
        f"System libraries are missing: {', '.join(missing)} (Debian, Ubuntu: sudo apt install {' '.join(packages)})."
    )
    print(text)
    return text


def torch_has_a_wheel() -> bool:
    """Say whether the pinned PyTorch exists for this computer; for Intel Macs the last one was 2.2."""
    return not (sys.platform == "darwin" and platform.machine() == "x86_64")


def check_windows_path(length: int) -> None:
    """Refuse a folder so deep that PyTorch's licence files (171 characters below site-packages) cannot be written.

    Raises:
        SetupError: the whole path would pass the 260 characters that Windows allows by default.
    """
    if sys.platform != "win32" or length + len("\\.venv\\Lib\\site-packages\\") + 171 < 260:
        return
    import winreg

    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
        try:
            allowed = winreg.QueryValueEx(key, "LongPathsEnabled")[0]
        except OSError:
            allowed = 0
    if not allowed:
        raise SetupError(f"the path of {ROOT} is too long for Windows; move the folder to C:\\mimseg, for example.")


class Environment:
    """A virtual environment that holds exactly the locked packages.

    A marker file, written last, names the locks that were installed. Without it, or when a lock, the Python or the
    folder's place has changed, the environment is made anew.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marker = folder / MARKER

    def executable(self, name: str) -> Path:
        """Return the path of a command in the environment."""
        return self.folder / ("Scripts" if os.name == "nt" else "bin") / (name + (".exe" if os.name == "nt" else ""))

    def ensure(self, locks: "tuple[str, ...]") -> None:
        """Install the named lock files unless they are there already.

        Raises:
            SetupError: the environment cannot be made or a package cannot be installed.
        """
        state = self._read_marker()
        wanted = {name: lock_digest(name) for name in locks}
        identity = {"python": sys.version, "folder": str(self.folder)}
        same = state.get("identity") == identity and self.executable("python").exists()
        installed = state.get("locks", {}) if same else {}
        if installed and all(installed.get(name) == digest for name, digest in wanted.items()):
            return
        if not installed or any(installed[name] != lock_digest(name) for name in installed):
            self._create()
            installed = {}
        self.marker.unlink(missing_ok=True)
        missing = [name for name in locks if name not in installed]
        started = time.monotonic()
        print(f"Installing locked packages ({', '.join(missing)}) in {self.folder.name} ...")
        self._install(missing)
        self.marker.write_text(json.dumps({"identity": identity, "locks": {**installed, **wanted}}, indent=1))
        print(f"  done in {time.monotonic() - started:.0f} s")

    def install_package(self, editable: bool = True) -> None:
        """Install mimseg itself, as an editable checkout or as the wheel that users get."""
        source = ["--editable", str(BACKEND)] if editable else ["--force-reinstall", str(BACKEND)]
        self._pip("--no-index", "--no-build-isolation", "--no-deps", *source)

    def build_wheel(self, folder: Path) -> Path:
        """Build mimseg's wheel.

        Raises:
            SetupError: it cannot be built.
        """
        command = [str(self.executable("python")), "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        if subprocess.run(command, cwd=BACKEND, env=self._variables(), check=False).returncode:
            raise SetupError("the package's wheel cannot be built (the message is above).")
        return next(folder.glob("*.whl"))

    def install_as_declared(self, wheel: Path, extra: str) -> None:
        """Install a wheel and what it declares, newest versions; without an extra, in an environment made anew."""
        self.marker.unlink(missing_ok=True)
        if not extra:
            self._create()
        else:
            self._install_torch()
        self._pip(f"{wheel}[{extra}]" if extra else str(wheel))
        self._pip_check()

    def _pip_check(self) -> None:
        command = [str(self.executable("python")), "-m", "pip", "check"]
        if subprocess.run(command, env=self._variables(), check=False).returncode:
            raise SetupError("what mimseg declares does not fit together (the message is above).")

    def mimseg(self, arguments: "list[str]") -> int:
        """Run the command `mimseg`, showing it first."""
        shown = [str(Path(part).relative_to(ROOT)) if Path(part).is_absolute() else part for part in arguments]
        print("\n$ mimseg " + " ".join(shown))
        return self.python(["-m", "mimseg", *arguments])

    def python(self, arguments: "list[str]") -> int:
        """Run the environment's Python in the repository's root and return its exit code."""
        command = [str(self.executable("python")), *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self._variables(), stdin=subprocess.DEVNULL, check=False
        ).returncode

    def missing_libraries(self) -> "list[str]":
        """Return the system libraries that Qt needs and the environment's Python cannot load."""
        command = [str(self.executable("python")), "-c", TRY_LIBRARIES, *QT_LIBRARIES]
        result = subprocess.run(command, env=self._variables(), capture_output=True, text=True, check=False)
        return result.stdout.split()

    def _read_marker(self) -> dict:
        try:
            state = json.loads(self.marker.read_text())
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def _create(self) -> None:
        print(f"Making {self.folder} ...")
        if self.folder.exists():
            shutil.rmtree(self.folder)
        made = subprocess.run([sys.executable, "-m", "venv", str(self.folder)], check=False)
        if made.returncode or not self.executable("python").exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            raise SetupError("Python could not make a virtual environment (Debian, Ubuntu: apt install python3-venv).")

    def _install(self, locks: "list[str]") -> None:
        files = [part for name in locks for part in ("--requirement", str(LOCKS / f"{name}.txt"))]
        self._pip("--require-hashes", "--only-binary", ":all:", "--no-deps", *files)
        if "train" in locks:
            self._install_torch()

    def _install_torch(self) -> None:
        if sys.platform != "linux":
            self._pip(
                "--require-hashes", "--only-binary", ":all:", "--no-deps", "--requirement", str(LOCKS / "torch.txt")
            )
            return
        wanted = ["--only-binary", ":all:", "--no-deps", f"torch=={TORCH_VERSION}+cpu"]
        # A copy that pip is configured to find on this computer comes first: it needs no network.
        if self._run_pip("--no-index", "--quiet", *wanted, quiet=True):
            self._pip("--index-url", TORCH_CPU_INDEX, *wanted)

    def _pip(self, *arguments: str) -> None:
        if self._run_pip(*([] if sys.stdout.isatty() else ["-qq"]), *arguments):
            raise SetupError(
                "pip could not install the packages (its message is above). Check the network or the proxy"
                " settings of pip, then run the same command again."
            )

    def _run_pip(self, *arguments: str, quiet: bool = False) -> int:
        command = [str(self.executable("python")), "-m", "pip", "install", "--no-input", *arguments]
        output = subprocess.DEVNULL if quiet else None
        variables = self._variables()
        return subprocess.run(
            command, env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        ).returncode

    def _variables(self) -> "dict[str, str]":
        dropped = {"PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV"}
        variables = {name: value for name, value in os.environ.items() if name not in dropped}
        variables.update(
            PATH=str(self.executable("python").parent) + os.pathsep + os.environ.get("PATH", ""),
            VIRTUAL_ENV=str(self.folder),
            PYTHONNOUSERSITE="1",
            PIP_DISABLE_PIP_VERSION_CHECK="1",
            PIP_USER="0",
            HF_HUB_OFFLINE="1",
            MPLBACKEND="Agg",
        )
        if not str(ROOT).isascii():  # else Windows misreads this path in the environment's .pth file
            variables["PYTHONUTF8"] = "1"
        return variables


def lock_digest(name: str) -> str:
    """Return the SHA-256 of a lock file, and for training of PyTorch's pin too."""
    lock = LOCKS / f"{name}.txt"
    content = lock.read_bytes() if lock.is_file() else b""
    if name == "train":
        content += TORCH_VERSION.encode() + (LOCKS / "torch.txt").read_bytes()
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
