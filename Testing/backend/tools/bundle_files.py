"""Small models for the tests: one with a torch network, one made of bytes without torch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mimseg.bundle.description import Description
from mimseg.bundle.documents import write_documents, write_hashes
from mimseg.bundle.reader import Bundle
from mimseg.data.intensity import Intensity
from mimseg.data.labels.structures import Code, Label
from mimseg.data.preprocessing import Preprocessing
from mimseg.networks.unetr_settings import UnetrSettings

NETWORK = UnetrSettings(
    window=(16, 24, 16), patch_size=8, classes=3, hidden_size=48, mlp_size=96, layers=3, heads=6, feature_size=4
)

# Of the model that is made of bytes.
WEIGHTS = {"w": np.ones((2, 3), np.float16)}


def describe(**changes: Any) -> Description:
    """A complete description; `changes` replace its entries."""
    description = Description(
        name="test-model",
        title="Test structures on MR",
        description="Finds nothing of use.",
        version="1.2.3",
        modality="MR",
        channels=("T1",),
        preprocessing=Preprocessing(spacing=(1.0, 1.0, 1.0), intensity=Intensity("zscore")),
        window=NETWORK.window,
        labels=(
            Label(1, "left", (255, 0, 0), type=Code("SCT", "72654001", "Hippocampus")),
            Label(2, "right|hand", (0, 255, 0)),
        ),
        network=NETWORK.to_json(),
        field_of_view_mm=(35.0, 50.0, 36.0),
        training={"finetuning": {"steps": 3, "training_sha256": ["0" * 64]}, "pretraining": None},
        scores={
            "summary": {
                "mean_dice": 0.5,
                "interval_95": [0.25, 0.75],
                "per_label": {"left": {"dice": 0.4, "hd95_mm": None}},
            }
        },
        licence="CC-BY-SA-4.0",
        attribution="Nobody's data.",
        citation="Nobody, 2026.",
        versions={"mimseg": "0.1.0"},
    )
    return replace(description, **changes)


def make_bundle(folder: Path, half: bool = True, stem: str = "convolution", **changes: Any) -> Bundle:
    """A model with a small UNETR of random weights that are far from uniform."""

    from mimseg.bundle.writer import write_bundle

    return write_bundle(folder, make_network(stem), describe(network=settings(stem).to_json(), **changes), half)


def settings(stem: str = "convolution") -> UnetrSettings:
    """Shape of the small network."""
    return replace(NETWORK, stem=stem)


def make_network(stem: str = "convolution") -> Any:
    """A small UNETR whose random weights make all classes about equally frequent."""
    import torch

    from mimseg.networks.unetr import UNETR

    torch.manual_seed(3)
    network = UNETR(settings(stem)).eval()
    with torch.no_grad():
        coarse = torch.randn(1, 1, 4, 6, 4)
        logits = network(torch.nn.functional.interpolate(coarse, size=NETWORK.window, mode="trilinear"))
        output = network.out.conv.conv
        output.weight.mul_(4 / logits.std())
        output.bias.sub_(logits.mean((0, 2, 3, 4))).mul_(4 / logits.std())
    return network


def make_bundle_of_bytes(folder: Path, **changes: Any) -> Path:
    """A model folder that passes every check although its network computes nothing; needs no torch."""
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "model.safetensors").write_bytes(safetensors_bytes(WEIGHTS))
    (folder / "models" / "model.onnx").write_bytes(onnx_bytes("model.safetensors"))
    write_documents(folder, describe(**changes))
    write_hashes(folder)
    return folder


def safetensors_bytes(tensors: dict[str, np.ndarray]) -> bytes:
    """The safetensors format, written by hand."""
    header: dict[str, Any] = {}
    data = b""
    for name, array in tensors.items():
        kind = {"float16": "F16", "float32": "F32"}[array.dtype.name]
        header[name] = {
            "dtype": kind,
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + array.nbytes],
        }
        data += array.tobytes()
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def onnx_bytes(
    location: str,
    domain: str = "",
    sizes: tuple[int, int, int, int, int] = (1, 3, *NETWORK.window),
    first: int | None = None,
    name: str = "w.safetensors",
) -> bytes:
    """An ONNX model whose one tensor lies in the file `location`, written by hand.

    `sizes` are its input channels, classes and window; `first` and `name` are of its tensor.
    """
    content = safetensors_bytes(WEIGHTS)
    first = 8 + int.from_bytes(content[:8], "little") if first is None else first
    place = {"location": location, "offset": first, "length": WEIGHTS["w"].nbytes}
    entries = [field(13, field(1, key.encode()) + field(2, str(value).encode())) for key, value in place.items()]
    tensor = bytes([8, 2, 8, 3, 16, 10]) + field(8, name.encode()) + b"".join(entries)
    channels, classes, *window = sizes
    graph = field(1, field(4, b"Identity")) + field(2, b"graph") + field(5, tensor)
    graph += field(11, value_info("image", channels, *window)) + field(12, value_info("logits", classes, *window))
    return bytes([8, 10]) + field(7, graph) + field(8, field(1, domain.encode()) + bytes([16, 20]))


def value_info(name: str, *sizes: int) -> bytes:
    """An input or output of an ONNX model with any number of batches."""
    axes = field(1, field(2, b"batch")) + b"".join(field(1, b"\x08" + varint(size)) for size in sizes)
    return field(1, name.encode()) + field(2, field(1, b"\x08\x01" + field(2, axes)))


def field(number: int, content: bytes) -> bytes:
    """One length-delimited field of a protocol-buffer message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """A protocol-buffer number."""
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


_made: dict[str, Bundle] = {}


def shared_bundle(folder: Path) -> Bundle:
    """One model with a network for all tests that only read it: exporting takes seconds."""
    if "bundle" not in _made:
        _made["bundle"] = make_bundle(folder / "test-model")
    return _made["bundle"]
