"""Models as one zip file, and taking in models of others.

A model from elsewhere is data of unknown origin. Nothing in it is executed: names, kinds and sizes of the entries
are checked before a byte is written, then the hashes, then the inside of each file (foreign_files.py) and whether
description, network and weights belong together (foreign_network.py); MONAI's configuration, which can contain code,
is replaced by one written here from the checked description. The model enters its folder by a rename at the end, so
a refused one leaves nothing behind.
"""

from __future__ import annotations

import atexit
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO

from mimseg.bundle.checked_folder import (
    CHECKPOINT_FILE,
    IGNORED_NAMES,
    NETWORK_FOLDER,
    ONNX_FILE,
    WEIGHTS_FILE,
    Bundle,
    describe_folder,
    list_files,
    open_folder,
    refuse_inside_model,
    verify_files,
)  # fmt: skip
from mimseg.bundle.description import read_description
from mimseg.bundle.documents import write_configuration, write_hashes
from mimseg.bundle.folders import replace_folder, temporary_sibling
from mimseg.bundle.foreign_files import ZIP_FAULTS, check_checkpoint, check_safetensors
from mimseg.bundle.foreign_network import check_agreement, check_onnx
from mimseg.bundle.locations import DESCRIPTION_FILE, user_folder
from mimseg.errors import UserError
from mimseg.files import replacing

LARGEST_UNPACKED = 4 * 1024**3
LARGEST_RATIO = 100
MOST_FILES = 100
_SMALL = 1024 * 1024
# Of every entry that is written here: the same model gives the same file, and is known again.
_DATE = (1980, 1, 1, 0, 0, 0)
_WINDOWS_FORBIDDEN = re.compile(r'[\\:*?"<>|\x00-\x1f]')

_KINDS = re.compile(
    r"segmentation\.json|sha256\.json|LICENSE|configs/[\w.-]+\.json|docs/[\w. -]+\.(?:md|txt|png)"
    r"|models/model\.(?:onnx|safetensors|pt)"
)


def export_zip(folder: Path, target: Path) -> Path:
    """Write a model as one zip file.

    Args:
        folder: The model.
        target: File to write, ending in `.zip`, or an existing folder in which `<name>-<version>.zip` is written.

    Returns:
        The file.

    Raises:
        UserError: The model is damaged, or the target cannot be written.
    """
    bundle = open_folder(folder)
    name = bundle.description.name
    files = ((f"{name}/{part}", path.read_bytes()) for part, path in list_files(bundle.path).items())
    return write_zip(Path(target), f"{name}-{bundle.description.version}.zip", files)


def write_zip(target: Path, usual_name: str, files: Iterable[tuple[str, bytes]]) -> Path:
    """Write files into a zip file; the same files give the same zip.

    Args:
        target: File to write, ending in `.zip`, or an existing folder in which `usual_name` is written.
        usual_name: See there.
        files: Name and content of each.

    Returns:
        The file.

    Raises:
        UserError: The target cannot be written, lies in a model, or is a file that no such export wrote.
    """
    if target.is_dir():
        target = target / usual_name
    refuse_inside_model(target)
    _refuse_foreign(target)
    if target.suffix.lower() != ".zip":
        raise UserError(f"{target} does not end in .zip.", "Choose a name that does.", "bad-name")
    with replacing(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, content)
    return target


def _refuse_foreign(target: Path) -> None:
    """Raise UserError for a file with content that `write_zip` did not write: all its entries have one date."""
    if not target.is_file() or target.stat().st_size == 0:
        return
    try:
        with zipfile.ZipFile(target) as archive:
            ours = all(entry.date_time == _DATE for entry in archive.infolist())
    except (OSError, zipfile.BadZipFile):
        ours = False
    if not ours:
        raise UserError(
            f"{target} is there already and no exported model.", "Choose a name that no file has.", "bad-output"
        )


def import_model(source: Path, replace: bool = False) -> Bundle:
    """Take a model into the user's folder, where it is called by its name.

    Args:
        source: A `.zip`, or a model's folder.
        replace: Replace a model of the same name.

    Raises:
        UserError: Not a model, damaged, unsafe, or there is a model of this name.
    """
    source = Path(source)
    if not source.exists():
        raise UserError(f"{source} does not exist.", "Check the path.", "file-missing")
    with temporary_sibling(user_folder() / "import") as temporary:
        name = take_in(source, temporary)
        target = user_folder() / name
        if target.exists() and not replace:
            raise UserError(f"There is a model {name} already.", "Give --replace, or remove it before.", "model-exists")
        replace_folder(temporary, target)
    return describe_folder(target)


def take_in(source: Path, folder: Path) -> str:
    """Copy a model of unknown origin into the empty `folder`, check all of it, and renew MONAI's configuration.

    Returns:
        The model's name.

    Raises:
        UserError: Not a model, damaged, or unsafe.
    """
    if source.is_dir():
        _copy_folder(source, folder)
    else:
        _unpack(source, folder)
    known = verify_files(folder)
    description = read_description(folder / DESCRIPTION_FILE)
    weights = check_safetensors(folder / WEIGHTS_FILE)
    network = check_onnx(folder / ONNX_FILE, PurePosixPath(WEIGHTS_FILE).name)
    check_agreement(description, network, weights)
    if (folder / CHECKPOINT_FILE).exists():
        # For other programs: the same weights once more. Damage and malice are told all the same.
        check_checkpoint(folder / CHECKPOINT_FILE)
        (folder / CHECKPOINT_FILE).unlink()
    shutil.rmtree(folder / "configs", ignore_errors=True)
    write_configuration(folder, description)
    write_hashes(folder, {name: value for name, value in known.items() if name.startswith(NETWORK_FOLDER)})
    return description.name


def unpack_temporarily(path: Path) -> Path:
    """Unpack and check a model's zip in a temporary folder that is removed when the process ends.

    Raises:
        UserError: Not a model, damaged, or unsafe.
    """
    folder = Path(tempfile.mkdtemp(prefix="mimseg-model-"))
    try:
        take_in(path, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _copy_folder(source: Path, folder: Path) -> None:
    for name, path in list_files(source).items():
        _check_kind(name, source)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)


def _unpack(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _checked_entries(archive, path)
            for name, entry in entries.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as packed, (folder / name).open("wb") as unpacked:
                    _copy(packed, unpacked, entry.file_size, path)
    except ZIP_FAULTS as fault:
        raise UserError(f"{path} is no readable zip file ({fault}).", "Get it again.", "bad-archive") from fault


def _copy(packed: IO[bytes], unpacked: IO[bytes], size: int, path: Path) -> None:
    """Copy exactly `size` bytes, however much the archive really holds."""
    left = size
    while block := packed.read(min(_SMALL, left + 1)):
        left -= len(block)
        if left < 0:
            raise _unsafe(path, "an entry is larger than it says")
        unpacked.write(block)


def _checked_entries(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Files of the archive by their name inside the model, a common top folder removed.

    Raises:
        UserError: An entry must not be unpacked, or this is no model.
    """
    entries = [entry for entry in archive.infolist() if PurePosixPath(entry.filename).name not in IGNORED_NAMES]
    entries = [entry for entry in entries if not entry.filename.startswith("__MACOSX/")]
    for entry in entries:
        _check_entry(entry, path)
    files = [entry for entry in entries if not entry.is_dir()]
    if len(files) > MOST_FILES or sum(entry.file_size for entry in files) > LARGEST_UNPACKED:
        raise _unsafe(path, "it unpacks to too many or too large files")
    names = [entry.filename for entry in files]
    tops = {name.split("/")[0] for name in names if "/" in name}
    top = f"{tops.pop()}/" if len(tops) == 1 and all("/" in name for name in names) else ""
    found = {name[len(top) :]: entry for name, entry in zip(names, files, strict=True)}
    if len({name.casefold() for name in found}) != len(files):
        raise _unsafe(path, "two entries have the same name")
    if DESCRIPTION_FILE not in found:
        raise UserError(
            f"{path} is not a model: it holds no {DESCRIPTION_FILE}.",
            "Give a .zip that `mimseg models export` wrote; `mimseg models import` also takes other programs' weights.",
            "not-a-model",
        )
    for name in found:
        _check_kind(name, path)
    return found


def _check_entry(entry: zipfile.ZipInfo, path: Path) -> None:
    # zipfile itself cuts names at a zero byte; what came before it must not pass for the name.
    name, mode = entry.orig_filename, entry.external_attr >> 16
    parts = name.rstrip("/").split("/")
    if name.startswith("/") or any(part in ("", ".", "..") for part in parts) or _WINDOWS_FORBIDDEN.search(name):
        raise _unsafe(path, f"the entry {name!r} leads out of the model")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _unsafe(path, f"the entry {name!r} is a link or no plain file")
    if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _unsafe(path, f"the entry {name!r} is encrypted or packed in an unusual way")
    if entry.file_size > max(_SMALL, LARGEST_RATIO * entry.compress_size):
        raise _unsafe(path, f"the entry {name!r} unpacks to {entry.file_size / max(1, entry.compress_size):.0f} times")


def _check_kind(name: str, path: Path) -> None:
    if not _KINDS.fullmatch(name):
        raise _unsafe(path, f"{name!r} is no file of a model")


def _unsafe(path: Path, fault: str) -> UserError:
    return UserError(f"{path} was not unpacked: {fault}.", "Get the model from a source you trust.", "unsafe-archive")
