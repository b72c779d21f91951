"""A finished pre-training run on disk: its settings and the encoder's weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mimseg.data.preprocessing import Preprocessing
from mimseg.errors import UserError
from mimseg.files import replacing
from mimseg.networks.settings import NetworkSettings
from mimseg.training.run_folder import write_json

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


def write_pretrained(folder: Path, run: PretrainedRun, encoder: dict[str, Tensor]) -> None:
    """Write `encoder.safetensors`, tensors by the names of the whole network (`vit.*`), and `pretraining.json`."""
    from safetensors.torch import save_file

    with replacing(folder / "encoder.safetensors") as temporary:
        save_file({name: value.contiguous() for name, value in encoder.items()}, temporary)
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


def read_pretrained(folder: Path) -> tuple[PretrainedRun, dict[str, Tensor]]:
    """Read what `write_pretrained` wrote.

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
