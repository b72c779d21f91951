"""The folder of a pre-training run: its settings, encoder weights, and what identifies its data."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mimseg.data.preprocessing import Preprocessing
from mimseg.errors import UserError
from mimseg.networks.settings import NetworkSettings

FORMAT = "mimseg-pretraining"


@dataclass(frozen=True)
class PretrainedRun:
    """What fine-tuning takes over from a pre-training run.

    Attributes:
        network: Shape of the encoder.
        preprocessing: What its volumes went through.
        modality: `CT` or `MR`.
        provenance: Method, settings, data hashes, final losses.
    """

    network: NetworkSettings
    preprocessing: Preprocessing
    modality: str
    provenance: dict[str, Any]


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that the file is complete or absent."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(temporary, path)


def write_run(folder: Path, run: PretrainedRun, encoder: dict[str, Tensor]) -> None:
    """Write `encoder.safetensors` (tensors named `vit.*`) and `pretraining.json`."""
    from safetensors.torch import save_file

    temporary = folder / "encoder.safetensors.part"
    save_file({name: value.contiguous() for name, value in encoder.items()}, temporary)
    os.replace(temporary, folder / "encoder.safetensors")
    write_json(
        folder / "pretraining.json",
        {
            "format": FORMAT,
            "format_version": 1,
            "network": run.network.to_json(),
            "preprocessing": run.preprocessing.to_json(),
            "modality": run.modality,
            "provenance": run.provenance,
        },
    )


def read_run(folder: Path) -> tuple[PretrainedRun, dict[str, Tensor]]:
    """Read what `write_run` wrote.

    Raises:
        UserError: The folder is not a finished pre-training run, or is damaged.
    """
    from safetensors.torch import load_file

    try:
        content = json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))
        if content.get("format") != FORMAT or content.get("format_version") != 1:
            raise UserError(f"{folder} was made by another version of mimseg.", "Update mimseg.", code="bad-run")
        run = PretrainedRun(
            NetworkSettings.from_json(content["network"]),
            Preprocessing.from_json(content["preprocessing"]),
            str(content["modality"]),
            dict(content["provenance"]),
        )
        return run, load_file(folder / "encoder.safetensors")
    except UserError:
        raise
    except Exception as fault:
        raise UserError(
            f"{folder} is not a finished pre-training run ({type(fault).__name__}: {fault}).",
            "Give the folder that `mimseg pretrain ... -o` wrote; an unfinished run goes on with --resume.",
            code="bad-run",
        ) from fault


def resumable(folder: Path) -> bool:
    """Whether a run can go on in `folder`; what broke off before its first checkpoint is removed."""
    if all((folder / name).is_file() for name in ("settings.json", "checkpoint.pt")):
        return True
    if folder.exists():
        shutil.rmtree(folder)
    return False


def check_same_settings(folder: Path, settings: dict[str, Any], name: str = "settings.json") -> None:
    """Refuse to resume a run with other settings than it was started with; the budget may change.

    Args:
        folder: Of the run.
        settings: The present ones.
        name: File with those that it was started with.

    Raises:
        UserError: naming the settings that differ.
    """
    try:
        started = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise UserError(
            f"The settings of the run in {folder} cannot be read ({fault}).", "Start again.", "bad-run"
        ) from fault
    now = json.loads(json.dumps(settings))
    free = {"budget", "versions"}
    differing = [key for key in now if key not in free and now[key] != started.get(key)]
    if differing:
        raise UserError(
            f"The run in {folder} was started with other settings: {', '.join(differing)}.",
            "Resume with the same options and data, or start a new run in another folder.",
            code="settings-differ",
        )


def data_hashes(cases: Sequence[Any]) -> list[str]:
    """Sorted SHA-256 of the cases' first image files: identifies data without naming anyone."""
    return sorted(case.sha256 for case in cases if case.sha256)
