"""Paths for libraries that take UTF-8 only; ITK aborts the whole process on any other."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mimseg.errors import UserError


def is_plain(path: Path | str) -> bool:
    """True if a path can be written in UTF-8; names from old discs and archives may be in Latin-1."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def plain_path(path: Path) -> Iterator[str]:
    """A name for an existing file that is UTF-8: its own, or that of a temporary link.

    A file that names others beside it (`.mhd`, `.nhdr`) finds them if only its folder has a foreign name.

    Raises:
        UserError: No link can be made.
    """
    if is_plain(path):
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="mimseg-") as folder:
        link = Path(folder) / "link"
        try:
            if is_plain(path.name):
                link.symlink_to(path.parent.resolve(), target_is_directory=True)
                name = str(link / path.name)
            else:
                link = link.with_suffix("".join(path.suffixes[-2:]) if is_plain("".join(path.suffixes)) else "")
                link.symlink_to(path.resolve())
                name = str(link)
        except OSError as fault:
            raise UserError(
                f"The name of {path} is not UTF-8, and no link to it can be made ({fault.strerror}).",
                "Rename it with plain letters.",
                "bad-name",
            ) from fault
        yield name
