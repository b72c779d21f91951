"""SimCLR, the contrastive baseline: two views of the same place attract, all others in the batch repel each other.

Chen et al., A Simple Framework for Contrastive Learning of Visual Representations (ICML 2020), sections 2 and 4:
augmented views, encoder, projection head, normalised temperature-scaled cross entropy (NT-Xent). The release of the
WACV 2023 paper by another Chen et al. names this baseline, but cannot run it; this is written from the ICML paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mimseg.errors import UserError
from mimseg.networks.methods.pretraining import PretrainingNetwork
from mimseg.networks.settings import PatchNetworkSettings

FEW_NEGATIVES = 8


@dataclass(frozen=True)
class SimclrSettings:
    """What is particular to SimCLR.

    Attributes:
        temperature: Divides the similarities.
        projection_size: Width of the compared vectors.
        chunk: Crops whose activations are in memory at once; 0 for all. Smaller chunks cost one more forward pass
            and keep every negative of the batch.
    """

    temperature: float = 0.5
    projection_size: int = 128
    chunk: int = 0

    def __post_init__(self) -> None:
        if self.temperature <= 0 or self.projection_size < 1 or self.chunk < 0:
            raise UserError(
                f"SimCLR cannot use {self}.", "temperature and projection_size are positive, chunk is not negative.",
                "bad-usage",
            )  # fmt: skip


class SimCLR(PretrainingNetwork):
    """A ViT encoder whose mean token is projected and compared."""

    settings_type = SimclrSettings
    views = 2
    divisible = False

    def __init__(self, network: PatchNetworkSettings, settings: SimclrSettings) -> None:
        super().__init__(network, settings)
        self._chunk = settings.chunk
        width = network.hidden_size
        # Batch normalisation as in the authors' own code: without it a ViT's mean tokens, alike at first, collapse.
        self.projection = nn.Sequential(
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, settings.projection_size, bias=False),
            nn.BatchNorm1d(settings.projection_size),
        )
        self._freeze_unused()

    def pool(self, crops: Tensor) -> Tensor:
        """Mean token `(M, hidden)` of each crop `(M, C, X, Y, Z)`."""
        tokens, _, _ = self.encoder(crops)
        return tokens.mean(dim=1)

    def forward(self, crops: Tensor, hidden: Tensor | None = None) -> Tensor:
        chunk = self._chunk
        if chunk and chunk < len(crops):
            # Recomputing each chunk in the backward pass gives the gradient of the whole batch, all negatives
            # included, with the activations of one chunk (cf. Gao et al., gradient caching, 2021).
            pooled = torch.cat([checkpoint(self.pool, part, use_reentrant=False) for part in crops.split(chunk)])
        else:
            pooled = self.pool(crops)
        return nt_xent(functional.normalize(self.projection(pooled.float()).float(), dim=1), self.settings.temperature)

    def recompute_activations(self) -> None:
        self._chunk = 1

    def advice(self, batch: int) -> str:
        negatives = 2 * (batch - 1)
        if negatives >= FEW_NEGATIVES:
            return ""
        return (
            f"SimCLR compares each crop with only {negatives} others; it needs many. "
            "Raise --batch, with --set chunk=4 if memory is short."
        )


def nt_xent(vectors: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy (Chen et al., ICML 2020, equation 1), mean over all crops.

    Args:
        vectors: Unit vectors `(2 B, D)`; row b and row B + b are views of the same volume.
        temperature: Divides the cosine similarities.

    Raises:
        UserError: There is no other volume to compare with.
    """
    if len(vectors) < 4:
        raise UserError("SimCLR cannot learn from one volume per step.", "Use --batch 2 or more.", "bad-usage")
    similarity = vectors @ vectors.T / temperature
    similarity = similarity.masked_fill(torch.eye(len(vectors), dtype=torch.bool, device=vectors.device), -torch.inf)
    partner = torch.arange(len(vectors), device=vectors.device).roll(len(vectors) // 2)
    return functional.cross_entropy(similarity, partner)
