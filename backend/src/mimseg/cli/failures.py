"""What an exception means to the user: an exit code, one sentence and one remedy."""

from __future__ import annotations

import errno
import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Sequence

from mimseg import __version__
from mimseg.errors import EXIT_BUG, MimsegError, OutOfMemory, Stopped, UserError
from mimseg.memory import is_out_of_memory

PACKAGES = frozenset(
    {
        "numpy",
        "SimpleITK",
        "pydicom",
        "openvino",
        "torch",
        "monai",
        "lightning_fabric",
        "safetensors",
        "onnx",
        "matplotlib",
    }
)

_DISK = {
    errno.ENOSPC: ("disk-full", "Free some space, or choose an output on another disk."),
    getattr(errno, "EDQUOT", errno.ENOSPC): ("disk-full", "Your quota is used up: free some space."),
    errno.EACCES: ("no-access", "Choose a file or folder that you may read or write."),
    errno.EPERM: ("no-access", "Choose a file or folder that you may read or write."),
    errno.EROFS: ("no-access", "The disk is read-only: choose another output."),
    errno.ENAMETOOLONG: ("bad-path", "Choose a shorter name or folder."),
}


def explain(error: BaseException) -> MimsegError | None:
    """The error to show for `error`, or None if it is a fault of ours."""
    if isinstance(error, MimsegError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Stopped()
    if is_out_of_memory(error):
        return OutOfMemory(
            "This computer does not have enough memory for this run.",
            "Close other programs, or choose a smaller region (--roi), a smaller batch, or another device.",
        )
    if isinstance(error, ImportError):
        return _explain_import(error)
    if isinstance(error, OSError) and error.errno in _DISK:
        code, hint = _DISK[error.errno]
        where = f" for {error.filename}" if error.filename else ""
        return UserError(f"The system refused access{where}: {error.strerror}.", hint, code)
    return None


def write_bug_log(error: BaseException, arguments: Sequence[str]) -> str:
    """Write the traceback to a new file that only this user can read.

    Returns:
        Path of the file, or an empty text if none could be written.
    """
    lines = [
        f"mimseg {__version__}, Python {sys.version.split()[0]}, {platform.platform()}\n",
        f"arguments: {list(arguments)!r}\n\n",
        *traceback.format_exception(type(error), error, error.__traceback__),
    ]
    try:
        descriptor, path = tempfile.mkstemp(prefix="mimseg-error-", suffix=".log")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(lines)
    except OSError:
        return ""
    return path


def describe_bug(error: BaseException, log: str) -> MimsegError:
    """The error to show for a fault of ours, whose traceback lies in the file `log`."""
    bug = MimsegError(
        f"mimseg failed, and the fault is its own ({type(error).__name__}: {error}).",
        f"The details are in {log}: please report them (the file names the paths you used)."
        if log
        else "The details could not be written to a file.",
        code="bug",
    )
    bug.exit_code = EXIT_BUG
    return bug


def _explain_import(error: ImportError) -> UserError | None:
    package = (error.name or "").split(".")[0]
    if package not in PACKAGES:
        return None
    hint = "`mimseg doctor` shows what is installed and the command that mends it."
    if isinstance(error, ModuleNotFoundError) and error.name == package:
        return UserError(
            f"This command needs the Python package {package}, which is not installed.", hint, code="missing-package"
        )
    return UserError(f"The Python package {package} is installed but broken ({error}).", hint, code="broken-package")
