"""The one place where files are written: under a temporary name, verified, then renamed.

Whatever goes wrong (full disk, size limit, a writer that fails without saying so, a stopped run), the file of that name
stays as it was and nothing half-written is left behind.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mimseg.errors import UserError

# Begins every temporary name. Hidden, so that a search for scans passes over what a killed run leaves behind.
TEMPORARY = ".mimseg-part-"

_ENDING = re.compile(r"(?:\.[A-Za-z0-9_]{1,12}){1,2}$")
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}
_LITTLE_BYTES = 1 << 20


class Incomplete(Exception):
    """What a check raises about a file that was written wrong; the text completes "<file> cannot be written (...)"."""


@contextmanager
def replacing(
    path: Path,
    check: Callable[[Path], None] | None = None,
    also: tuple[type[Exception], ...] = (),
    may_be_empty: bool = False,
) -> Iterator[Path]:
    """Write a file so that it appears complete or not at all; its folder is made if it is not there.

    Args:
        path: The file to write or replace.
        check: Reads back the finished temporary file; raises `Incomplete` (or OSError) if it is not what was meant.
        also: Exceptions besides OSError by which the writer says that it could not write (ITK, PyTorch: RuntimeError).
        may_be_empty: A file of 0 bytes is right.

    Yields:
        A path in the same folder with the same ending in lower case, so that writers choose the same format. It is
        plain ASCII, for libraries that cannot open other names. The file is there, and empty.

    Raises:
        UserError: The file cannot be written; an earlier file of that name is untouched.
    """
    path = Path(path)
    faults: tuple[type[Exception], ...] = (OSError, Incomplete, *also)
    temporary = path.with_name(_temporary_name(path.name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made here, not by the writer: the system's own reason why a folder takes no file is the best one.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        _to_disk(temporary)
        if not may_be_empty and temporary.stat().st_size == 0:
            raise Incomplete("it came out empty")
        if check is not None:
            check(temporary)
        os.replace(temporary, path)
    except faults as fault:
        raise cannot_write(path, fault) from fault
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    _folder_to_disk(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, line ends as they are; the file appears complete or not at all.

    Names of files that are no UTF-8 themselves are written with their foreign bytes as escapes (`\\udcfc`).

    Raises:
        UserError: The file cannot be written.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content`; the file appears complete or not at all.

    Raises:
        UserError: The file cannot be written.
    """

    def whole(written: Path) -> None:
        if (size := written.stat().st_size) != len(content):
            raise Incomplete(f"{size} of {len(content)} bytes arrived")

    with replacing(path, whole, may_be_empty=not content) as temporary:
        temporary.write_bytes(content)


def try_folder(folder: Path) -> None:
    """Find out whether files can be written to a folder; if it is not there, whether it can be made. Nothing stays.

    Raises:
        UserError: They cannot.
    """
    there = next((each for each in (folder, *folder.parents) if os.path.exists(each)), folder)
    probe = there / _temporary_name("")
    try:
        if there == folder:
            os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            probe.unlink()
        else:
            probe.mkdir()
            probe.rmdir()
    except OSError as fault:
        raise cannot_write(folder, fault) from fault


def cannot_write(path: Path, fault: Exception) -> UserError:
    """The error for a file or folder that cannot be written, with the remedy that fits the system's reason."""
    number = fault.errno if isinstance(fault, OSError) else None
    reason = (fault.strerror if isinstance(fault, OSError) else None) or last_sentence(str(fault))
    if number == errno.EFBIG:
        remedy = "Files of this size are not allowed there: choose a folder on another disk, or ask for a higher limit."
    elif number in _FULL or (number not in _FORBIDDEN and _is_full(path.parent)):
        reason, remedy = "the disk is full", "Free some space, or choose a folder on another disk."
    elif number in _FORBIDDEN:
        remedy = "Choose another folder or name, or ask for the right to write there."
    else:
        remedy = "Check that the disk is not full and that no other program holds the file."
    return UserError(f"{path} cannot be written ({reason}).", remedy, "cannot-write")


def last_sentence(text: str) -> str:
    """The end of a library's message: what it says before is where in its own sources it failed."""
    line = text.strip().splitlines()[-1] if text.strip() else "no reason given"
    for mark in ("ITK ERROR: ", "sitk::ERROR: ", "): "):
        line = line.rsplit(mark, 1)[-1]
    return line.strip().rstrip(".")


def _temporary_name(name: str) -> str:
    ending = _ENDING.search(name)
    # In lower case: ITK writes `.MHA` as two files with other names.
    return f"{TEMPORARY}{secrets.token_hex(6)}{ending[0].lower() if ending else ''}"


def _to_disk(path: Path) -> None:
    """Some systems report a full disk no earlier than here."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _folder_to_disk(folder: Path) -> None:
    """Let the rename survive a power cut, where the system can do so (Windows cannot)."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _is_full(folder: Path) -> bool:
    with suppress(OSError):
        return shutil.disk_usage(folder).free < _LITTLE_BYTES
    return False
