"""The folder of a model: every file is checked against its SHA-256 before anything is used. No torch, no pickle."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from mimseg.bundle.description import Description, read_description
from mimseg.bundle.locations import DESCRIPTION_FILE
from mimseg.errors import UserError

HASH_FILE = "sha256.json"
NETWORK_FOLDER = "models/"
ONNX_FILE = "models/model.onnx"
WEIGHTS_FILE = "models/model.safetensors"
# Only where `models export --format monai` or an older mimseg wrote it; mimseg never loads it.
CHECKPOINT_FILE = "models/model.pt"
# File managers leave these behind merely by showing a folder.
IGNORED_NAMES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})

_GET_AGAIN = "Copy or download the model again."


@dataclass(frozen=True)
class Bundle:
    """A model whose files were found complete and unchanged.

    Attributes:
        path: The folder.
        description: Content of `segmentation.json`.
        onnx_path: The network for OpenVINO and ONNX Runtime; its weights lie in `weights_path`.
        weights_path: Weights as float16 or float32 safetensors, named as in the torch network.
        size_bytes: Of all files together.
        identity: SHA-256 over the hashes of all files: changes when any file does.
    """

    path: Path
    description: Description
    onnx_path: Path
    weights_path: Path
    size_bytes: int
    identity: str


def open_folder(path: Path) -> Bundle:
    """Check and open the folder of a model.

    Raises:
        UserError: Not a model of mimseg, damaged, or of an unknown version.
    """
    verify_files(path)
    return describe_folder(path)


def describe_folder(path: Path) -> Bundle:
    """The model in a folder whose files were checked, or hashed when they were written, just before.

    Raises:
        UserError: Its description cannot be used.
    """
    description = read_description(path / DESCRIPTION_FILE)
    identity = hashlib.sha256((path / HASH_FILE).read_bytes()).hexdigest()
    size = sum(file.stat().st_size for file in list_files(path).values())
    return Bundle(path, description, path / ONNX_FILE, path / WEIGHTS_FILE, size, identity)


def verify_files(folder: Path, original: Path | None = None) -> dict[str, str]:
    """Check that a model's folder holds exactly the files of its `sha256.json`, unchanged.

    Args:
        folder: Of the model.
        original: The folder to name in errors, where `folder` is a copy of it.

    Returns:
        SHA-256 by name.

    Raises:
        UserError: Not a model; or a file is missing, changed, not listed, or not a plain file.
    """
    named = original or folder
    if not (folder / DESCRIPTION_FILE).is_file():
        raise UserError(
            f"{named} is not a model: it has no {DESCRIPTION_FILE}.",
            "Give the folder that `mimseg finetune -o` wrote, or a .zip that `mimseg models export` wrote.",
            "not-a-model",
        )
    expected = _read_hashes(folder, named)
    present = list_files(folder)
    missing = sorted({DESCRIPTION_FILE, ONNX_FILE, WEIGHTS_FILE, *expected} - set(present))
    if missing:
        raise _damaged(named, f"{', '.join(missing)} missing")
    unlisted = sorted(set(present) - set(expected) - {HASH_FILE})
    if unlisted:
        raise UserError(
            f"The model {named} is damaged: {', '.join(unlisted)} not listed in {HASH_FILE}.",
            f"Remove what does not belong to it, or: {_GET_AGAIN[0].lower()}{_GET_AGAIN[1:]}",
            "model-damaged",
        )
    changed = [name for name in sorted(expected) if sha256_of(present[name]) != expected[name]]
    if changed:
        raise _damaged(named, f"{', '.join(changed)} changed since it was written")
    return expected


def list_files(folder: Path) -> dict[str, Path]:
    """Files at or below `folder` by their relative name with forward slashes, but for file managers' leftovers.

    Raises:
        UserError: Something is a link or no plain file.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise _damaged(folder, f"{name} is a link")
        if path.is_dir() or path.name in IGNORED_NAMES:
            continue
        if not path.is_file():
            raise _damaged(folder, f"{name} is not a plain file")
        found[name] = path
    return found


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def refuse_inside_model(target: Path) -> None:
    """Refuse to write into a model: with a file that `sha256.json` does not list, it counts as damaged.

    Raises:
        UserError: `target` is the folder of a model, or lies in one.
    """
    place = target.absolute()
    # Also as it is written: a link inside of a model may lead elsewhere.
    for folder in (place, *place.parents, *place.resolve().parents):
        if (folder / DESCRIPTION_FILE).is_file() and (folder / HASH_FILE).is_file():
            raise UserError(
                f"{target} lies in the folder of a model ({folder}), which any other file would make a damaged one.",
                "Choose a place outside of it.",
                "bad-output",
            )


def _read_hashes(folder: Path, named: Path) -> dict[str, str]:
    try:
        content = json.loads((folder / HASH_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as fault:
        raise _damaged(named, f"{HASH_FILE} cannot be read ({fault})") from fault
    usable = isinstance(content, dict) and all(
        isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) for value in content.values()
    )
    if not usable or HASH_FILE in content:
        raise _damaged(named, f"{HASH_FILE} is not a list of SHA-256 values by file name")
    return content


def _damaged(folder: Path, fault: str) -> UserError:
    return UserError(f"The model {folder} is damaged: {fault}.", _GET_AGAIN, "model-damaged")
