"""Giving a model that is there already another description; its network stays byte for byte."""

from __future__ import annotations

import shutil
from pathlib import Path

from mimseg.bundle.checked_folder import NETWORK_FOLDER, Bundle, describe_folder, list_files, verify_files
from mimseg.bundle.description import Description
from mimseg.bundle.documents import write_documents, write_hashes
from mimseg.bundle.folders import replace_folder, temporary_sibling
from mimseg.errors import UserError


def update_description(folder: Path, description: Description) -> Bundle:
    """Write a model's description and everything made of it anew; at any moment the old model or the new one is there.

    On Windows this fails while another program, or an engine of this process, has the network's files open.

    Args:
        folder: Of the model.
        description: The new one; the network must suit it.

    Raises:
        UserError: The model is damaged, or the folder cannot be written.
    """
    folder = folder.resolve()
    try:
        with temporary_sibling(folder) as temporary:
            for name, path in list_files(folder).items():
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, temporary / name)
            # The copy is checked: damage of the model and of the copying are found by reading its files once.
            known = verify_files(temporary, folder)
            write_documents(temporary, description)
            write_hashes(temporary, {name: value for name, value in known.items() if name.startswith(NETWORK_FOLDER)})
            describe_folder(temporary)
            replace_folder(temporary, folder)
    except OSError as fault:
        raise cannot_update(folder, fault) from fault
    return describe_folder(folder)


def check_updatable(folder: Path) -> None:
    """Raise UserError if the folder beside which a model is renewed cannot be written to."""
    folder = folder.resolve()
    try:
        with temporary_sibling(folder):
            pass
    except OSError as fault:
        raise cannot_update(folder, fault) from fault


def cannot_update(folder: Path, fault: OSError) -> UserError:
    """The error for a model that cannot be replaced."""
    return UserError(
        f"The model {folder} cannot be changed ({fault.strerror or fault}).",
        "Check the permissions and the free space, or copy the model elsewhere and give the copy.",
        "cannot-write",
    )
