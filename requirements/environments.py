"""Virtual environments that hold the locked packages, or what mimseg's wheel declares. Standard library only."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

OLDEST, NEWEST = (3, 10), (3, 14)
LOCKS = Path(__file__).resolve().parent
ROOT = LOCKS.parent
BACKEND = ROOT / "backend"
# The builds without CUDA; the Linux wheels of the Python package index bring gigabytes of it.
TORCH_VERSION = "2.13.0"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
MARKER = "mimseg-environment.json"


class SetupError(Exception):
    """Something outside this program prevents the command; the message says what and how to mend it."""


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

    def python(self, arguments: "list[str]", more_variables: "dict[str, str] | None" = None) -> int:
        """Run the environment's Python in the repository's root and return its exit code."""
        command = [str(self.executable("python")), *arguments]
        variables = {**self._variables(), **(more_variables or {})}
        return subprocess.run(command, cwd=ROOT, env=variables, stdin=subprocess.DEVNULL, check=False).returncode

    def output(self, arguments: "list[str]") -> str:
        """Run the environment's Python and return what it prints."""
        command = [str(self.executable("python")), *arguments]
        return subprocess.run(command, env=self._variables(), capture_output=True, text=True, check=False).stdout

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
