"""The text files of a model, all made from its description, and the list of hashes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mimseg.bundle.checked_folder import HASH_FILE, list_files, sha256_of
from mimseg.bundle.description import Description
from mimseg.bundle.documents.model_card import licence_text, model_card
from mimseg.bundle.documents.monai_inference import inference_configuration
from mimseg.bundle.documents.monai_metadata import metadata
from mimseg.bundle.locations import DESCRIPTION_FILE


def write_documents(folder: Path, description: Description) -> None:
    """Write the description, MONAI's configuration, the model card and the licence."""
    _write_json(folder / DESCRIPTION_FILE, description.to_json())
    write_configuration(folder, description)
    _write_text(folder / "docs" / "README.md", model_card(description))
    _write_text(folder / "LICENSE", licence_text(description))
    if description.attribution:
        _write_text(folder / "docs" / "data_license.txt", description.attribution.strip() + "\n")


def write_configuration(folder: Path, description: Description) -> None:
    """Write what MONAI reads: `configs/metadata.json` and `configs/inference.json`."""
    _write_json(folder / "configs" / "metadata.json", metadata(description))
    _write_json(folder / "configs" / "inference.json", inference_configuration(description))


def write_hashes(folder: Path, known: Mapping[str, str] | None = None) -> None:
    """Write `sha256.json` over all other files of the folder.

    Args:
        folder: Of the model.
        known: SHA-256 by name of files that were hashed already and stayed as they are; large files are read once.
    """
    known = known or {}
    names = {name: path for name, path in list_files(folder).items() if name != HASH_FILE}
    _write_json(folder / HASH_FILE, {name: known.get(name) or sha256_of(path) for name, path in names.items()})


def _write_json(path: Path, content: Any) -> None:
    _write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Bytes: Windows would write other line ends, and so change the hash.
    path.write_bytes(text.encode())
