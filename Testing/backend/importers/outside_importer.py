"""An importer that mimseg does not know: what a newcomer would write, one file; the test adds its line to the list.

It reads the ViT of timm (`vision_transformer.py`) with patches of three dimensions. There the class token has a
position of its own, which is added to it here, since our encoder gives it none.
"""

from __future__ import annotations

from mimseg.importers.found import Converted, Found, convert_names

NAME = "timm-vit"
TITLE = "ViT by timm's names"
ANCHOR = "pos_embed"

_PARTS = {".attn.proj.": ".attn.out_proj.", ".mlp.fc1.": ".mlp.linear1.", ".mlp.fc2.": ".mlp.linear2."}
_STARTS = {
    "patch_embed.proj.": "vit.patch_embedding.patch_embeddings.",
    "pos_embed": "vit.patch_embedding.position_embeddings",
    "blocks.": "vit.blocks.",
    "norm.": "vit.norm.",
    "cls_token": "vit.cls_token",
}


def recognise(found: Found) -> bool:
    return found.inside("patch_embed.proj.weight") and found.inside("blocks.0.attn.qkv.weight")


def convert(found: Found) -> Converted:
    converted = convert_names(found, found.root, _STARTS, {"head.": "classifies, which segmenting does not need"})
    tensors = {}
    for name, tensor in converted.tensors.items():
        for old, new in _PARTS.items():
            name = name.replace(old, new)
        tensors[name] = tensor
    if "vit.cls_token" in tensors:
        positions = tensors["vit.patch_embedding.position_embeddings"]
        tensors["vit.patch_embedding.position_embeddings"] = positions[:, 1:]
        tensors["vit.cls_token"] = tensors["vit.cls_token"] + positions[:, :1]
    return Converted(tensors, False, converted.dropped, ("Made by the test.",))
