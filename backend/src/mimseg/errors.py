"""Errors that reach the user as one sentence and one remedy, and the exit codes they end with."""

from __future__ import annotations

import traceback
from pathlib import Path

EXIT_DONE = 0
EXIT_BUG = 1
EXIT_USER = 2
EXIT_OUT_OF_MEMORY = 3
EXIT_STOPPED = 130


class MimsegError(Exception):
    """Base of all errors that are told to the user without a traceback.

    Args:
        message: What is wrong, naming the file or option and the offending value.
        hint: What the user can do about it.
        code: Short stable identifier for programs that read the JSON lines, in kebab-case.
    """

    exit_code = EXIT_USER

    def __init__(self, message: str, hint: str = "", code: str = "bad-input") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UserError(MimsegError):
    """Bad usage or bad input: something that the user can mend (exit code 2)."""


class OutOfMemory(MimsegError):
    """Memory ran out after every fallback (exit code 3)."""

    exit_code = EXIT_OUT_OF_MEMORY

    def __init__(self, message: str, hint: str = "", code: str = "out-of-memory") -> None:
        super().__init__(message, hint, code)


class Stopped(MimsegError):
    """The user stopped the run; whatever was finished before stays valid (exit code 130)."""

    exit_code = EXIT_STOPPED

    def __init__(self, message: str = "Stopped by the user.", hint: str = "", code: str = "stopped") -> None:
        super().__init__(message, hint, code)


def of_case(fault: Exception) -> MimsegError:
    """What ended one case of many, in words: the error itself, or, for a fault of ours, what it was and where.

    Raises:
        Stopped: The user stopped the run, which ends all of it.
    """
    if isinstance(fault, Stopped):
        raise fault
    if isinstance(fault, MimsegError):
        return fault
    if isinstance(fault, MemoryError):
        return OutOfMemory("The memory of this computer does not suffice for this case.")
    last = traceback.extract_tb(fault.__traceback__)[-1:]
    where = "".join(f" in {Path(frame.filename).name}, line {frame.lineno}" for frame in last)
    return MimsegError(
        f"mimseg failed by a fault of its own ({type(fault).__name__}: {fault}{where}).",
        "Please report this; the other cases are not concerned.",
        "bug",
    )
