"""Reports on disk: each file appears complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mimseg.errors import UserError


def write_report_files(contents: Mapping[Path, str]) -> None:
    """Write texts, making folders where there are none.

    Args:
        contents: Text of each file.

    Raises:
        UserError: One cannot be written.
    """
    for path, text in contents.items():
        partial = path.with_name(path.name + ".part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(text, encoding="utf-8", newline="")
            os.replace(partial, path)
        except OSError as fault:
            with suppress(OSError):
                partial.unlink()
            raise UserError(
                f"The report {path} cannot be written ({fault.strerror}).", "Choose another folder.", "cannot-write"
            ) from fault
