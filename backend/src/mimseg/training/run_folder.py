"""The folder that a training works in: may it begin or go on there, and what identifies its settings and data.

Nothing is removed here but by `clear_run`, and that takes only files that mimseg writes itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mimseg.errors import UserError
from mimseg.files import TEMPORARY, write_text
from mimseg.networks.settings import NetworkSettings

SETTINGS, CHECKPOINT = "settings.json", "checkpoint.pt"
# What a run writes before its first checkpoint, and everything that a training or a study writes.
_BEGUN = frozenset({SETTINGS, "cost.json", "transfer.json", "reconstruction.png"})
_OWN = _BEGUN | {CHECKPOINT, "log.csv", "curves.png", "pretraining.json", "encoder.safetensors", "scores.json"}


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that the file is complete or absent."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False))


def can_resume(folder: Path) -> bool:
    """Whether a run that broke off in `folder` left a checkpoint to go on from."""
    return all((folder / name).is_file() for name in (SETTINGS, CHECKPOINT))


def check_run_folder(folder: Path, resume: bool, needed: str = CHECKPOINT) -> None:
    """Refuse to resume what is not there, and to begin where something lies that would be mixed up or overwritten.

    A run that broke off before its first checkpoint has nothing to go on from: it may begin again over its own files.

    Args:
        folder: Where the run works.
        resume: Whether it goes on.
        needed: File without which it cannot.

    Raises:
        UserError: One of these, naming what lies there.
    """
    if resume:
        if not (folder / needed).is_file():
            raise UserError(f"{folder} holds no training to resume.", "Leave out --resume to start one.", "not-found")
        return
    found = _names_in(folder)
    if (folder / needed).is_file():
        raise UserError(
            f"{folder} holds an unfinished training already.",
            "Continue it with --resume, delete that folder if it is no longer needed, or choose another name.",
            code="output-exists",
        )
    if found and not (_BEGUN.issuperset(found) and _is_our_settings(folder / SETTINGS)):
        raise UserError(
            f"{folder} is not empty: it holds {_listed(found)}.",
            "Move these files elsewhere, or choose another name.",
            code="output-exists",
        )


def clear_run(folder: Path) -> None:
    """Remove the files of a damaged run so that it can begin again.

    Raises:
        UserError: Something lies there that mimseg did not write; then nothing is removed.
    """
    found = _names_in(folder)
    foreign = [name for name in found if name not in _OWN]
    if foreign or (found and not _is_our_settings(folder / SETTINGS)):
        raise UserError(
            f"The run in {folder} is damaged and cannot go on, and that folder holds {_listed(foreign or found)}.",
            "Move these files elsewhere; then the run begins again.",
            code="output-exists",
        )
    for name in found:
        (folder / name).unlink()


def _names_in(folder: Path) -> list[str]:
    """Sorted names of all that lies in a folder but what a killed process left half-written."""
    if not folder.exists():
        return []
    if not folder.is_dir():
        raise UserError(f"{folder} is a file, not a folder.", "Choose another name.", "output-exists")
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith(TEMPORARY))


def _is_our_settings(path: Path) -> bool:
    """A user's own file may have that name, too."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"network", "budget", "seed"} <= set(content)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


# An older mimseg did not record them.
RECORDED_LATER = {"modality", "preprocessing"}


def read_started(folder: Path, name: str = SETTINGS) -> dict[str, Any]:
    """The settings that the run in `folder` was started with.

    Raises:
        UserError: They cannot be read.
    """
    try:
        started = json.loads((folder / name).read_text(encoding="utf-8"))
        if not isinstance(started, dict):
            raise ValueError("no settings")
    except (OSError, ValueError) as fault:
        raise UserError(
            f"The settings of the run in {folder} cannot be read ({fault}).", "Start again.", "bad-run"
        ) from fault
    return started


def check_same_settings(folder: Path, settings: dict[str, Any], name: str = SETTINGS) -> dict[str, Any]:
    """Refuse to resume a run with other settings than it was started with; the budget may change.

    Args:
        folder: Of the run.
        settings: The present ones.
        name: File with those that it was started with.

    Returns:
        Those that it was started with.

    Raises:
        UserError: naming the settings that differ.
    """
    started = read_started(folder, name)
    now = json.loads(json.dumps(settings))
    free = {"budget", "versions"}
    asked = {key: comparable(key, value) for key, value in now.items() if key not in free}
    for key in RECORDED_LATER - set(started):
        asked.pop(key, None)
    differing = [key for key, value in asked.items() if value != comparable(key, started.get(key))]
    if differing:
        raise UserError(
            f"The run in {folder} was started with other settings: {', '.join(differing)}.",
            "Resume with the same options and data, or start a new run in another folder.",
            code="settings-differ",
        )
    return started


def comparable(key: str, value: Any) -> Any:
    """A setting as it can be compared: an older mimseg wrote it without what has been added since."""
    if key == "augmentation" and isinstance(value, dict):
        return {"flip_pairs": False, "cut_off": 0.0, **value}
    return NetworkSettings.from_json(value) if key == "network" and isinstance(value, dict) else value


def data_hashes(cases: Sequence[Any]) -> list[str]:
    """Sorted SHA-256 of the cases' first image files: identifies data without naming anyone."""
    return sorted(case.sha256 for case in cases if case.sha256)
