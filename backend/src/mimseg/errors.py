"""Errors that reach the user as one sentence and one remedy, and the exit codes they end with."""

from __future__ import annotations

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
