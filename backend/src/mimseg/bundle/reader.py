"""Opening a model, be it a folder or a zip file. No torch, no monai, no pickle."""

from __future__ import annotations

from pathlib import Path

from mimseg.bundle.archive import unpack_temporarily
from mimseg.bundle.checked_folder import Bundle, describe_folder, open_folder


def open_bundle(path: Path) -> Bundle:
    """Open a model.

    Args:
        path: A folder, or a `.zip` as `mimseg models export` writes it; a zip is unpacked to a temporary folder that
            vanishes when the process ends.

    Raises:
        UserError: Not a model of mimseg, damaged, or of an unknown version.
    """
    path = Path(path)
    return describe_folder(unpack_temporarily(path)) if path.is_file() else open_folder(path)
