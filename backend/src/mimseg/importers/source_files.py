"""What a file, folder or zip of another program brings: one file of weights, and its declarations as text."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mimseg.bundle.foreign_files import ZIP_FAULTS
from mimseg.errors import UserError

# MONAI Bundles and MONAIAuto3DSeg keep their weights at fixed places.
WEIGHTS = ("models/model.safetensors", "models/model.pt", "model.safetensors", "model.pt")
DECLARATIONS = ("configs/metadata.json", "configs/inference.json", "labels.csv")
_LARGEST_TEXT = 16 * 1024**2
_LARGEST_WEIGHTS = 16 * 1024**3


@dataclass(frozen=True)
class SourceFiles:
    """What was found.

    Attributes:
        name: Of the file or folder, without ending.
        weights: The file of weights.
        declarations: Content of those of `DECLARATIONS` that there are, by their names.
    """

    name: str
    weights: Path
    declarations: dict[str, bytes] = field(default_factory=dict)


@contextmanager
def open_source(path: Path) -> Iterator[SourceFiles]:
    """Find the weights at `path`: a file of weights, or a bundle as a folder or zip.

    Of a zip only the entries that are needed are unpacked, to a temporary folder under names of our own.

    Raises:
        UserError: There is nothing, or no weights at the known places.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist.", "Check the path.", "file-missing")
    if path.is_dir():
        yield _from_folder(path)
    elif path.suffix.lower() == ".zip":
        folder = Path(tempfile.mkdtemp(prefix="mimseg-import-"))
        try:
            yield _from_zip(path, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    else:
        yield SourceFiles(path.stem, path)


def _from_folder(folder: Path) -> SourceFiles:
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise _no_weights(folder)
    found = {name: folder / name for name in DECLARATIONS if (folder / name).is_file()}
    texts = {name: file.read_bytes() for name, file in found.items() if file.stat().st_size <= _LARGEST_TEXT}
    return SourceFiles(folder.resolve().name, weights, texts)


def _from_zip(path: Path, folder: Path) -> SourceFiles:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {_without_top(entry.filename): entry for entry in archive.infolist() if not entry.is_dir()}
            name = next((name for name in WEIGHTS if name in entries), None)
            if name is None:
                raise _no_weights(path)
            if entries[name].file_size > _LARGEST_WEIGHTS:
                raise UserError(f"{path} unpacks to an unusually large file.", "Check it.", "unsafe-archive")
            weights = folder / PurePosixPath(name).name
            with archive.open(entries[name]) as packed, weights.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, 1 << 20)
            small = {name: entries[name] for name in DECLARATIONS if name in entries}
            texts = {name: archive.read(entry) for name, entry in small.items() if entry.file_size <= _LARGEST_TEXT}
    except ZIP_FAULTS as fault:
        raise UserError(f"{path} is no readable zip file ({fault}).", "Get it again.", "bad-archive") from fault
    return SourceFiles(path.stem, weights, texts)


def _without_top(name: str) -> str:
    """The entry's name inside the bundle, whose files may lie in one folder of the zip."""
    for known in (*WEIGHTS, *DECLARATIONS):
        if name.endswith(f"/{known}") and name.count("/") == known.count("/") + 1:
            return known
    return name


def _no_weights(path: Path) -> UserError:
    return UserError(
        f"{path} has no weights at the places of a MONAI Bundle or a MONAIAuto3DSeg model ({', '.join(WEIGHTS)}).",
        "Give the file of weights itself; what it does not say is then asked for by options.",
        "not-a-model",
    )
