"""An encoder that was pre-trained here, in the checkpoint format of nnssl, which nnU-Net fine-tunes from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimseg.bundle.checked_folder import refuse_inside_model
from mimseg.errors import UserError
from mimseg.files import replacing
from mimseg.networks.primus_settings import PrimusSettings
from mimseg.training.start.pretrained_run import PretrainedRun, read_pretrained

if TYPE_CHECKING:
    from torch import Tensor

# Sizes that the other programs know by a name: width, blocks, heads.
_NAMES = {(396, 12, 6): "PrimusS", (792, 12, 12): "PrimusB", (864, 16, 12): "PrimusM", (1056, 24, 16): "PrimusL"}


def export_nnssl(run: Path, target: Path, classes: int | None = None) -> Path:
    """Write the encoder of a pre-training run as `network_weights` with an adaptation plan.

    Args:
        run: Folder of the run.
        target: The file to write, which must not be there, or a folder.
        classes: Outputs of a decoder with fresh weights that is written, too, background included; None writes none.
            nnU-Net 2.8.1 takes only files that hold every weight of its network.

    Raises:
        UserError: No finished run, not one of Primus, or the target is taken.
    """
    import torch

    from mimseg.networks.axis_order import reverse_axes

    found, weights = read_pretrained(run)
    settings = found.network
    if not isinstance(settings, PrimusSettings):
        raise UserError(
            f"nnssl's format has no {settings.title}, only Primus.",
            "Pre-train with --network primus-s or another size of it.",
            "unsupported-network",
        )
    path = target / f"{run.resolve().name}.pth" if target.is_dir() else target
    refuse_inside_model(path)
    if path.exists():
        raise UserError(f"{path} exists already.", "Choose another name.", "output-exists")
    own = {name.removeprefix("vit."): value for name, value in weights.items() if name.startswith("vit.")}
    encoder = reverse_axes(own, settings.grid, settings.heads)
    content = {
        "network_weights": encoder if classes is None else {**encoder, **_fresh_rest(settings, classes)},
        "nnssl_adaptation_plan": _plan(found, settings),
    }
    with replacing(path) as temporary:
        torch.save(content, temporary)
    return path


def _fresh_rest(settings: PrimusSettings, classes: int) -> dict[str, Tensor]:
    """What the published network has beside its encoder, as it begins."""
    import torch

    network = replace(settings, classes=classes, decoder="light").build()
    decoder = {name: value for name, value in network.state_dict().items() if name.startswith("up_projection.")}
    return {**decoder, "mask_token": torch.zeros(1, 1, settings.hidden_size)}


def _plan(run: PretrainedRun, settings: PrimusSettings) -> dict[str, Any]:
    window = list(reversed(settings.window))
    spacing = list(reversed(run.preprocessing.spacing)) if run.preprocessing.spacing else None
    name = _NAMES.get((settings.hidden_size, settings.layers, settings.heads), "Primus")
    return {
        "architecture_plans": {
            "arch_class_name": name,
            "arch_kwargs": {
                "embed_dim": settings.hidden_size,
                "eva_depth": settings.layers,
                "eva_numheads": settings.heads,
                "patch_embed_size": [settings.patch_size] * 3,
                "input_shape": window,
                "init_values": 0.1 if settings.layer_scale else None,
                "scale_attn_inner": settings.attention_norm,
            },
            "arch_kwargs_requiring_import": None,
        },
        "pretrain_plan": {
            "configurations": {
                "mimseg": {
                    "spacing": spacing,
                    "patch_size": window,
                    "normalization_schemes": ["ZScoreNormalization"] * settings.channels,
                    "use_mask_for_norm": [True] * settings.channels,
                }
            }
        },
        "pretrain_patch_size": window,
        "pretrain_num_input_channels": settings.channels,
        "recommended_downstream_patchsize": window,
        "key_to_encoder": "eva",
        "key_to_stem": "down_projection",
        "keys_to_in_proj": ["down_projection.proj"],
        "key_to_lpe": "eva.pos_embed",
    }
