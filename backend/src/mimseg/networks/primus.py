"""Primus: a plain transformer whose every voxel's label comes through attention, with a decoder that is kept light.

Wald et al., Primus: Enforcing Attention Usage for 3D Medical Image Segmentation (arXiv 2503.01835): patches of 8
voxels, learned positions and rotary ones in three dimensions (Su et al., RoFormer, 2021), the blocks of EVA-02 (Fang
et al., 2023) with gated perceptrons and LayerScale. Names and outputs equal `dynamic_network_architectures` 0.4
`Primus` (test_primus.py), which public encoders are stored by; there the encoder has no prefix `vit.`.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mimseg.networks.positions import project_patches

if TYPE_CHECKING:
    from mimseg.networks.primus_settings import PrimusSettings

_LAYER_SCALE_START = 0.1
_ROTARY_BASE = 10000.0


class Attention(nn.Module):
    """Self-attention over tokens whose queries and keys are rotated by their positions."""

    def __init__(self, settings: PrimusSettings) -> None:
        super().__init__()
        width = settings.hidden_size
        self.heads = settings.heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width) if settings.attention_norm else nn.Identity()
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, rotation: Tensor) -> Tensor:
        """`(B, N, hidden)` with `rotation` as `rotary_positions` gives it, one for all or one for each of the batch."""
        query, key, value = (
            layer(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = rotate(query, rotation).type_as(value), rotate(key, rotation).type_as(value)
        attended = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(self.norm(attended.transpose(1, 2).flatten(2)))


class GatedPerceptron(nn.Module):
    """SwiGLU (Shazeer, 2020) with a normalisation inside."""

    def __init__(self, settings: PrimusSettings) -> None:
        super().__init__()
        self.fc1_g = nn.Linear(settings.hidden_size, settings.mlp_size)
        self.fc1_x = nn.Linear(settings.hidden_size, settings.mlp_size)
        self.norm = nn.LayerNorm(settings.mlp_size)
        self.fc2 = nn.Linear(settings.mlp_size, settings.hidden_size)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(self.norm(functional.silu(self.fc1_g(tokens)) * self.fc1_x(tokens)))


class Block(nn.Module):
    """Attention and perceptron, each normalised before, scaled, and left out now and then in training."""

    def __init__(self, settings: PrimusSettings, drop: float) -> None:
        super().__init__()
        width = settings.hidden_size
        self.norm1, self.attn = nn.LayerNorm(width), Attention(settings)
        self.norm2, self.mlp = nn.LayerNorm(width), GatedPerceptron(settings)
        self.drop = drop
        start = torch.full((width,), _LAYER_SCALE_START)
        self.gamma_1 = nn.Parameter(start) if settings.layer_scale else None
        self.gamma_2 = nn.Parameter(start.clone()) if settings.layer_scale else None

    def forward(self, tokens: Tensor, rotation: Tensor) -> Tensor:
        tokens = tokens + self._kept(self.attn(self.norm1(tokens), rotation), self.gamma_1)
        return tokens + self._kept(self.mlp(self.norm2(tokens)), self.gamma_2)

    def _kept(self, branch: Tensor, scale: Tensor | None) -> Tensor:
        branch = branch if scale is None else branch * scale
        if not self.training or not self.drop:
            return branch
        keep = 1 - self.drop  # stochastic depth, Huang et al. 2016: whole branches, apart for each volume
        return branch * (torch.rand(branch.shape[0], 1, 1, device=branch.device) < keep).to(branch.dtype) / keep


class Eva(nn.Module):
    """The transformer: learned positions, blocks, and a last normalisation."""

    def __init__(self, settings: PrimusSettings) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, settings.tokens, settings.hidden_size))
        drops = torch.linspace(0, settings.drop_path, settings.layers).tolist()
        self.blocks = nn.ModuleList(Block(settings, drop) for drop in drops)
        self.norm = nn.LayerNorm(settings.hidden_size)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        with torch.no_grad():
            for number, block in enumerate(self.blocks, start=1):
                block.attn.proj.weight /= math.sqrt(2 * number)  # type: ignore[union-attr, operator]
                block.mlp.fc2.weight /= math.sqrt(2 * number)  # type: ignore[union-attr, operator]


class PrimusEncoder(nn.Module):
    """From a window to tokens."""

    def __init__(self, settings: PrimusSettings) -> None:
        super().__init__()
        self.settings = settings
        edge = settings.patch_size
        self.down_projection = nn.ModuleDict(
            {"proj": nn.Conv3d(settings.channels, settings.hidden_size, edge, stride=edge)}
        )
        self.eva = Eva(settings)
        rotation = rotary_positions(settings.grid, settings.hidden_size // settings.heads)
        self.register_buffer("rotation", rotation, persistent=False)
        self.recompute = False  # activations of blocks in the backward pass, to save memory
        nn.init.kaiming_normal_(self.down_projection["proj"].weight, a=1e-2)  # type: ignore[arg-type]
        nn.init.zeros_(self.down_projection["proj"].bias)  # type: ignore[arg-type]

    @property
    def norm(self) -> nn.Module:
        """The final normalisation."""
        return self.eva.norm

    def embed(self, volume: Tensor) -> Tensor:
        """`(B, C, X, Y, Z)` to tokens with positions `(B, N, hidden)`."""
        return self.down_projection["proj"](volume).flatten(2).transpose(1, 2) + self.eva.pos_embed

    def forward(self, volume: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Encode a whole window.

        Returns:
            Normalised tokens `(B, N, hidden)`, the tokens after each block, and no feature maps.
        """
        tokens, states = self.embed(volume), []
        for block in self.eva.blocks:
            tokens = self._through(block, tokens, self._rotation)
            states.append(tokens)
        return self.eva.norm(tokens), states, []

    def encode_visible(self, volume: Tensor, hidden: Tensor, final_norm: bool = True) -> Tensor:
        """Encode only the visible patches, `(B, visible, hidden)`; `hidden`: `(B, N)`, True where hidden."""
        count, visible = len(hidden), ~hidden
        tokens = project_patches(self.down_projection["proj"], volume, visible)  # type: ignore[arg-type]
        tokens = (tokens + self.eva.pos_embed.expand(count, -1, -1)[visible]).reshape(count, -1, tokens.shape[-1])
        rotation = self._rotation.expand(count, -1, -1)[visible].reshape(count, 1, tokens.shape[1], -1)
        return self._encode(tokens, rotation, final_norm)

    def encode_masked(self, volume: Tensor, hidden: Tensor, mask_token: Tensor, final_norm: bool = True) -> Tensor:
        """Encode all patches `(B, N, hidden)`, hidden ones as `mask_token` `(1, 1, hidden)` at their position."""
        tokens = torch.where(hidden[..., None], mask_token + self.eva.pos_embed, self.embed(volume))
        return self._encode(tokens, self._rotation, final_norm)

    @property
    def _rotation(self) -> Tensor:
        return self.get_buffer("rotation")

    def _encode(self, tokens: Tensor, rotation: Tensor, final_norm: bool) -> Tensor:
        for block in self.eva.blocks:
            tokens = self._through(block, tokens, rotation)
        return self.eva.norm(tokens) if final_norm else tokens

    def _through(self, block: nn.Module, tokens: Tensor, rotation: Tensor) -> Tensor:
        if self.recompute and self.training:
            return checkpoint(block, tokens, rotation, use_reentrant=False)
        return block(tokens, rotation)


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each voxel, `(B, C, X, Y, Z)`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, volume: Tensor) -> Tensor:
        normal = functional.layer_norm(volume.movedim(1, -1), self.weight.shape, self.weight, self.bias, 1e-6)
        return normal.movedim(-1, 1)


class Primus(nn.Module):
    """Logits `(B, classes, X, Y, Z)` of a window `(B, channels, X, Y, Z)`."""

    def __init__(self, settings: PrimusSettings) -> None:
        super().__init__()
        self.settings = settings
        self.vit = PrimusEncoder(settings)
        widths = _decoder_widths(settings)
        layers: list[nn.Module] = []
        for stage, (width, following) in enumerate(itertools.pairwise(widths)):
            enlarge = nn.ConvTranspose3d(width, following, 2, stride=2)
            nn.init.kaiming_normal_(enlarge.weight, a=1e-2)
            last = stage == len(widths) - 2
            layers.append(enlarge if last else nn.Sequential(enlarge, ChannelNorm(following), nn.GELU()))
        self.up_projection = nn.ModuleDict({"decode": nn.Sequential(*layers)})

    def recompute_activations(self) -> None:
        """Save memory in training: activations of the transformer are computed again in the backward pass."""
        self.vit.recompute = True

    def forward(self, volume: Tensor) -> Tensor:
        tokens, _, _ = self.vit(volume)
        grid = tokens.transpose(1, 2).reshape(tokens.shape[0], -1, *self.settings.grid)
        return self.up_projection["decode"](grid)


def rotary_positions(grid: tuple[int, int, int], width: int) -> Tensor:
    """Sine and cosine of the angles by which a head's pairs of numbers are rotated.

    A third of the pairs turns with the patch's index along x, one along y and one along z, each in falling speeds.

    Args:
        grid: Patches along x, y, z.
        width: Numbers of a head; a multiple of 6.

    Returns:
        `(1, N, width)`: sines of the `width / 2` pairs, then their cosines; patches in x, y, z order, z fastest.
    """
    speeds = _ROTARY_BASE ** -(torch.arange(width // 6, dtype=torch.float32) / (width // 6))
    axes = torch.meshgrid(*(torch.arange(count, dtype=torch.float32) for count in grid), indexing="ij")
    angles = (torch.stack(axes, dim=-1)[..., None] * speeds).reshape(math.prod(grid), -1)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[None]


def rotate(vectors: Tensor, rotation: Tensor) -> Tensor:
    """Rotate neighbouring pairs of `(B, heads, N, width)` by the angles of `rotary_positions`."""
    half = rotation.shape[-1] // 2
    sine, cosine = rotation[..., :half], rotation[..., half:]  # slices of a constant, which exporters can fold
    first, second = vectors[..., 0::2], vectors[..., 1::2]
    return torch.stack([first * cosine - second * sine, second * cosine + first * sine], dim=-1).flatten(-2)


def _decoder_widths(settings: PrimusSettings) -> list[int]:
    """Channels from token to voxel: falling evenly on a logarithmic scale, multiples of 8."""
    stages = settings.stages
    ratio = (settings.hidden_size / (2 * settings.classes)) ** (1 / stages)
    between = [_multiple_of_8(settings.hidden_size / ratio ** (stage + 1)) for stage in range(stages - 1)]
    return [settings.hidden_size, *between, settings.classes]


def _multiple_of_8(value: float) -> int:
    return int(max(8, round((value + 1e-6) / 8) * 8))
