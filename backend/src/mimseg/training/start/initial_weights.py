"""The weights that fine-tuning starts from: a pre-training run, or a model bundle."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mimseg.data.preprocessing import Preprocessing
from mimseg.errors import UserError
from mimseg.networks.settings import NetworkSettings
from mimseg.training.start.pretrained_run import read_pretrained


@dataclass(frozen=True)
class InitialWeights:
    """Weights with what they belong to.

    Attributes:
        name: For the report.
        weights: Tensors by the names of that network.
        network: Settings of the network they come from.
        preprocessing: What its volumes went through.
        modality: `CT` or `MR`.
        provenance: How they were made.
    """

    name: str
    weights: dict[str, Tensor]
    network: NetworkSettings
    preprocessing: Preprocessing
    modality: str
    provenance: dict[str, Any]

    @property
    def sha256(self) -> str:
        """Of the tensors: tells weights apart whatever their file is called."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.weights.items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.float().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def check_modality(self, asked: str | None, remedy: str) -> None:
        """Refuse scans of another modality than these weights know.

        Args:
            asked: `CT`, `MR`, or None for nothing asked.
            remedy: What to do.

        Raises:
            UserError: It is another one.
        """
        if asked not in (None, self.modality):
            raise UserError(
                f"The start weights are for {self.modality}, not for {asked}, whose scans are scaled otherwise.",
                remedy,
                "bad-usage",
            )


def read_initial_weights(source: str, asked: NetworkSettings | None = None) -> InitialWeights:
    """Read a pre-training run or a model.

    Args:
        source: Folder of a run, or name, folder or zip file of a model.
        asked: The network that the weights must belong to, or None for any.

    Raises:
        UserError: It is neither, is damaged, or belongs to another network.
    """
    initial = _read(source)
    if asked is not None and asked.name != initial.network.name:
        raise UserError(
            f"The weights of {initial.name} belong to {initial.network.title}, not to {asked.title}.",
            "Leave --network out, or choose other weights to start from.",
            "other-network",
        )
    return initial


def _read(source: str) -> InitialWeights:
    folder = Path(source)
    if (folder / "pretraining.json").is_file() or (folder / "checkpoint.pt").is_file():
        run, weights = read_pretrained(folder)
        return InitialWeights(
            "the pre-training run", weights, run.network, run.preprocessing, run.modality, run.provenance
        )
    if folder.is_file() and folder.suffix.lower() != ".zip":
        raise UserError(
            f"{source} is neither a pre-training run nor a model.",
            f"Take in weights of other programs first: mimseg models import {source} OUT; then start from OUT.",
            "not-a-model",
        )
    from mimseg.bundle.locations import find_bundle
    from mimseg.bundle.reader import open_bundle
    from mimseg.networks.weights import read_weights

    bundle = open_bundle(find_bundle(source))
    description = bundle.description
    return InitialWeights(
        f"the model {description.name}",
        read_weights(bundle.weights_path),
        description.network_settings,
        description.preprocessing,
        description.modality,
        {
            "model": description.name,
            "version": description.version,
            **{name: getattr(description, name) for name in ("licence", "attribution", "citation")},
            "training": description.training,
        },
    )
