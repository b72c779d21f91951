"""Putting a finished folder in its place in one step, so that a model is complete or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mimseg.bundle.locations import DESCRIPTION_FILE
from mimseg.errors import UserError


@contextmanager
def temporary_sibling(folder: Path) -> Iterator[Path]:
    """A new empty folder beside `folder`, on the same disk, that is removed at the end unless it was renamed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        # mkdtemp makes it private; models are readable like other files.
        os.chmod(temporary, 0o755)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_foreign_folder(folder: Path) -> None:
    """Raise UserError if `folder` exists and is neither empty nor a model."""
    if not folder.exists() or (folder / DESCRIPTION_FILE).is_file():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise UserError(
            f"{folder} exists and is not a model.", "Choose another name for the model's folder.", "output-exists"
        )


def replace_folder(new: Path, folder: Path) -> None:
    """Put the folder `new` in the place of `folder`, which is a model, empty or absent."""
    if not folder.exists():
        os.rename(new, folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".old", dir=folder.parent))
    try:
        os.rename(folder, old / "model")
        try:
            os.rename(new, folder)
        except OSError:
            os.rename(old / "model", folder)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
