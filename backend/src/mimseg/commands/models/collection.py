"""Listing, describing, exchanging and removing models."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimseg.bundle.archive import export_zip, import_model
from mimseg.bundle.description import Description, read_description
from mimseg.bundle.locations import DESCRIPTION_FILE, ListedBundle, find_bundle, list_bundles, user_folder
from mimseg.bundle.reader import Bundle, open_bundle
from mimseg.errors import UserError
from mimseg.networks.methods import METHODS


@dataclass(frozen=True)
class ModelEntry:
    """One line of the list of models.

    Attributes:
        bundle: Name and place.
        description: What it is, or None if that cannot be read.
        fault: Why not.
    """

    bundle: ListedBundle
    description: Description | None
    fault: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary for the JSON lines."""
        entry: dict[str, Any] = {
            "name": self.bundle.name,
            "path": str(self.bundle.path),
            "shipped": self.bundle.shipped,
        }
        if self.description is None:
            return {**entry, "fault": self.fault}
        return {
            **entry,
            "title": self.description.title,
            "version": self.description.version,
            "modality": self.description.modality,
            "network": self.description.network_settings.title,
            "channels": list(self.description.channels),
            "field_of_view_mm": self.description.field_of_view_mm,
            "labels": [label.name for label in self.description.labels],
            "locator": None if self.description.locator is None else self.description.locator.to_json(),
            "quick": None if self.description.quick is None else self.description.quick.to_json(),
        }


def list_methods() -> list[dict[str, str]]:
    """The pre-training methods, the default first: what programs offer to choose from."""
    return [{"name": name, "title": method.title, "summary": method.summary} for name, method in METHODS.items()]


def list_models() -> list[ModelEntry]:
    """Every model that can be called by its name, damaged ones included."""
    entries = []
    for bundle in list_bundles():
        try:
            entries.append(ModelEntry(bundle, read_description(bundle.path / DESCRIPTION_FILE)))
        except UserError as fault:
            entries.append(ModelEntry(bundle, None, fault.message))
    return entries


def show_model(model: str) -> Bundle:
    """A model with all its files checked.

    Raises:
        UserError: There is no such model, or it is damaged.
    """
    return open_bundle(find_bundle(model))


def export_model(model: str, target: Path) -> Path:
    """Write a model as one zip file (in `target`, if that is a folder).

    Args:
        model: Name, folder or zip file.
        target: See `export_zip`.

    Raises:
        UserError: There is no such model, it is damaged, or the target cannot be written.
    """
    try:
        return export_zip(show_model(model).path, target)
    except OSError as fault:
        raise UserError(f"{target} cannot be written ({fault}).", "Choose another place.", "cannot-write") from fault


def take_in_model(source: Path, replace: bool = False) -> Bundle:
    """Check a zip file or folder from elsewhere and keep it under its name in the user's folder of models.

    Raises:
        UserError: Not a model, damaged, unsafe, or the name is taken.
    """
    try:
        return import_model(source, replace)
    except OSError as fault:
        raise UserError(
            f"{source} cannot be imported to {user_folder()} ({fault}).",
            "Check the free space and the permissions, or set MIMSEG_MODELS to another folder.",
            "cannot-write",
        ) from fault


def remove_model(name: str) -> Path:
    """Delete a model from the user's folder.

    Returns:
        The folder that is gone.

    Raises:
        UserError: There is no such model, or it came with mimseg.
    """
    found = {bundle.name: bundle for bundle in list_bundles()}.get(name)
    if found is None:
        names = ", ".join(bundle.name for bundle in list_bundles() if not bundle.shipped) or "none"
        raise UserError(f"There is no model {name!r}.", f"Models that can be removed: {names}.", "no-such-model")
    if found.shipped:
        raise UserError(
            f"The model {name} came with mimseg and stays.",
            "Only models that were imported can be removed.",
            "shipped-model",
        )
    # First out of the way in one step: a deletion that stops half-way must not leave half a model.
    doomed = found.path.with_name(f".{name}.removed")
    try:
        shutil.rmtree(doomed, ignore_errors=True)
        os.rename(found.path, doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    except OSError as fault:
        raise UserError(
            f"The model {name} cannot be removed ({fault}).", "Close programs that use it.", "cannot-write"
        ) from fault
    return found.path
