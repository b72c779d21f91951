"""The system libraries that Qt needs on Linux, where the tests of the panel run. Standard library only."""

import os
import platform
import shutil
import subprocess
import sys

from requirements.environments import Environment

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


def provide_qt_libraries(environment: Environment) -> str:
    """Install the system libraries that Qt lacks where this program may; else return what to do, or nothing."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return ""
    missing = missing_libraries(environment)
    if missing and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        packages = [QT_LIBRARIES[name] for name in missing]
        print(f"Installing system libraries for Qt: {' '.join(packages)} ...")
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            subprocess.run(["apt-get", "-qq", *arguments], stdin=subprocess.DEVNULL, check=False)
        missing = missing_libraries(environment)
    if not missing:
        return ""
    packages = [QT_LIBRARIES[name] for name in missing]
    text = (
        f"System libraries are missing: {', '.join(missing)} (Debian, Ubuntu: sudo apt install {' '.join(packages)})."
    )
    print(text)
    return text


def missing_libraries(environment: Environment) -> "list[str]":
    """Return the system libraries that Qt needs and the environment's Python cannot load."""
    return environment.output(["-c", TRY_LIBRARIES, *QT_LIBRARIES]).split()
