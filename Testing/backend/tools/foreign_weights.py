"""Weights as other programs write them: real MONAI classes made tiny, and MIM-Med3D's by their exact names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from monai.networks import nets
from torch import Tensor, nn

from mimseg.commands.models.import_weights import converted_network
from mimseg.importers import identify
from mimseg.importers.checkpoint_file import read_checkpoint
from mimseg.importers.found import Converted
from mimseg.importers.network_shape import ShapeHints, read_shape
from mimseg.networks.primus_settings import PrimusSettings
from mimseg.networks.settings import NetworkSettings
from mimseg.networks.unetr import UNETR
from mimseg.training.start.transfer import TransferReport

HEADS = 6
WINDOW = (32, 32, 32)
PRIMUS = PrimusSettings(window=(16, 24, 32), classes=1, hidden_size=48, heads=2, layers=3)
ENCODER = {"hidden_size": 48, "mlp_dim": 96, "num_heads": HEADS}


def unetr(channels: int = 1, classes: int = 3, feature_size: int = 4, **changes: Any) -> nn.Module:
    """A small MONAI UNETR whose every parameter is random, also norms and biases."""
    return randomized(nets.UNETR(channels, classes, WINDOW, feature_size, **{**ENCODER, **changes}))


def vit(kind: type[nn.Module] = nets.ViT, layers: int = 4, channels: int = 1, **changes: Any) -> nn.Module:
    """A small MONAI encoder of some kind, likewise."""
    sizes = {**ENCODER, "img_size": WINDOW, "patch_size": (16, 16, 16), **changes}
    return randomized(kind(channels, num_layers=layers, **sizes))


def randomized(network: nn.Module) -> nn.Module:
    """The network with noise on all parameters, so that no two are equal and none is 0 or 1."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def as_of(version: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that some version of MONAI would have written."""
    kept = {name: tensor for name, tensor in state.items() if ".cross_attn." not in name}
    if version == "0.9":
        return {name: tensor for name, tensor in kept.items() if "norm_cross_attn" not in name}
    if version == "1.5":
        for name in [name for name in kept if name.endswith("norm_cross_attn.weight")]:
            block, size = name.removesuffix("norm_cross_attn.weight"), len(kept[name])
            for part in ("to_q.weight", "to_k.weight", "to_v.weight", "out_proj.weight"):
                kept[f"{block}cross_attn.{part}"] = torch.randn(size, size)
            kept[f"{block}cross_attn.out_proj.bias"] = torch.randn(size)
    return kept


def mim_med3d(method: str, encoder: dict[str, Tensor], decoder_size: int = 24, decoder_layers: int = 2) -> dict:
    """A Lightning checkpoint of MIM-Med3D's MAE or SimMIM around the tensors of a MONAI 0.9 ViT."""
    projection = "patch_embedding.patch_embeddings.1"
    tokens, hidden = encoder["patch_embedding.position_embeddings"].shape[1:]
    voxels = encoder[f"{projection}.weight"].shape[1]
    state = {f"encoder.{name}": tensor for name, tensor in encoder.items()}
    state.update({f"patch_to_emb.{end}": encoder[f"{projection}.{end}"] for end in ("weight", "bias")})
    if method == "simmim":
        sizes: dict[str, tuple[int, ...]] = {
            "mask_token": (hidden,), "to_pixels.weight": (voxels, hidden), "to_pixels.bias": (voxels,),
        }  # fmt: skip
    else:
        d, mlp = decoder_size, 4 * decoder_size
        sizes = {
            "mask_token": (d,), "enc_to_dec.weight": (d, hidden), "enc_to_dec.bias": (d,),
            "decoder_norm.weight": (d,), "decoder_norm.bias": (d,), "decoder_pos_emb.weight": (tokens, d),
            "to_pixels.weight": (voxels, d), "to_pixels.bias": (voxels,),
        }  # fmt: skip
        block = {
            "mlp.linear1.weight": (mlp, d), "mlp.linear1.bias": (mlp,), "mlp.linear2.weight": (d, mlp),
            "mlp.linear2.bias": (d,), "norm1.weight": (d,), "norm1.bias": (d,), "norm2.weight": (d,),
            "norm2.bias": (d,), "attn.out_proj.weight": (d, d), "attn.out_proj.bias": (d,),
            "attn.qkv.weight": (3 * d, d),
        }  # fmt: skip
        for j in range(decoder_layers):
            sizes.update({f"decoder_blocks.{j}.{name}": size for name, size in block.items()})
    state.update({name: torch.empty(size) for name, size in sizes.items()})
    for name in sizes:
        if state[name].numel() < 1e6:
            state[name].normal_()
    return {
        "epoch": 3,
        "global_step": 100,
        "pytorch-lightning_version": "1.5.10",
        "state_dict": {f"model.{name}": tensor for name, tensor in state.items()},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"completed": 3}}}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]}],
    }


def primus_encoder(shape: PrimusSettings = PRIMUS) -> Any:
    """A small encoder of Primus whose every parameter is random."""
    torch.manual_seed(0)
    encoder = shape.build_encoder().eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder


def nnssl_checkpoint(path: Path, encoder: Any, window: tuple[int, ...], **configuration: Any) -> Path:
    """As nnssl writes one: around the encoder lie a decoder and a mask token, beside them the adaptation plan."""
    weights = {
        **encoder.state_dict(),
        "mask_token": torch.zeros(1, 1, 48),
        "up_projection.decode.0.bias": torch.ones(3),
    }
    plan = {
        "architecture_plans": {"arch_class_name": "PrimusM", "arch_kwargs": None, "arch_kwargs_requiring_import": None},
        "pretrain_plan": {
            "configurations": {
                "onemmiso": {
                    "spacing": [1.5, 1.25, 1.0], "patch_size": list(window), "use_mask_for_norm": [False],
                    "normalization_schemes": ["ZScoreNormalization"], **configuration,
                }
            }
        },
        "pretrain_num_input_channels": 1, "recommended_downstream_patchsize": list(window), "key_to_encoder": "eva",
        "key_to_stem": "down_projection", "keys_to_in_proj": ["down_projection.proj"], "key_to_lpe": "eva.pos_embed",
    }  # fmt: skip
    content = {"network_weights": weights, "nnssl_adaptation_plan": plan, "trainer_name": "BaseMAETrainer"}
    return save(path, content)


def read(path: Path, **hints: Any) -> tuple[Converted, NetworkSettings]:
    """Name and shape of what a file holds."""
    importer, found = identify(read_checkpoint(path))
    converted = importer.convert(found)
    return converted, read_shape(converted.tensors, ShapeHints(**{"heads": HEADS, **hints}))[0]


def load(path: Path, **hints: Any) -> tuple[UNETR, TransferReport]:
    """Our network with the weights of a file."""
    converted, shape = read(path, **hints)
    return converted_network(converted, shape, "a test file")


def save(path: Path, content: Any) -> Path:
    """Write as torch does."""
    torch.save(content, path)
    return path
