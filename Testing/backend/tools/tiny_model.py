"""A model bundle made without torch and onnx: one 1x1x1 convolution that tells dark, grey and bright apart."""

import hashlib
import json
import struct

import numpy as np

from mimseg.bundle.description import Description
from mimseg.data.intensity import Intensity
from mimseg.data.labels.structures import Code, Label
from mimseg.data.preprocessing import Preprocessing
from mimseg.networks.unetr_settings import UnetrSettings

LABELS = (
    Label(3, "Grey", (240, 80, 60), type=Code("SCT", "10200004", "Liver")),
    Label(7, "Bright", (60, 160, 240)),
)
PREPROCESSING = Preprocessing("RAS", (1.0, 1.0, 1.0), Intensity("window", 0, 100))


def _varint(number):
    encoded = bytearray()
    while True:
        number, low = number >> 7, number & 127
        encoded.append(low | (128 if number else 0))
        if not number:
            return bytes(encoded)


def _message(*fields):
    """Protocol buffer message of (field number, value): whole numbers, text, bytes or nested messages."""
    encoded = b""
    for number, value in fields:
        if isinstance(value, int):
            encoded += _varint(number << 3) + _varint(value)
        else:
            content = value.encode() if isinstance(value, str) else value
            encoded += _varint(number << 3 | 2) + _varint(len(content)) + content
    return encoded


def _tensor(name, values, kind):
    return _message(*((1, edge) for edge in values.shape), (2, kind), (8, name), (9, values.tobytes()))


def _value(name, sizes):
    shape = _message(*((1, _message((2, s) if isinstance(s, str) else (1, s))) for s in sizes))
    return _message((1, name), (2, _message((1, _message((1, 1), (2, shape))))))


def threshold_onnx(window, channels=1):
    """ONNX bytes: logits 0, 40 x - 12 and 80 x - 40 of the first channel, so steps lie at 0.3 and 0.7.

    The weights are float16 and cast to float32, as in the bundles that mimseg writes.
    """
    weights = np.zeros((3, channels, 1, 1, 1), np.float16)
    weights[1:, 0] = np.array([40, 80], np.float16).reshape(2, 1, 1, 1)
    bias = np.array([0, -12, -40], np.float32)
    to_float = _message((1, "to"), (3, 1), (20, 2))
    graph = _message(
        (1, _message((1, "half"), (2, "weights"), (3, "cast"), (4, "Cast"), (5, to_float))),
        (1, _message((1, "image"), (1, "weights"), (1, "bias"), (2, "logits"), (3, "conv"), (4, "Conv"))),
        (2, "thresholds"),
        (5, _tensor("half", weights, 10)),
        (5, _tensor("bias", bias, 1)),
        (11, _value("image", ("batch", channels, *window))),
        (12, _value("logits", ("batch", 3, *window))),
    )
    return _message((1, 8), (7, graph), (8, _message((1, ""), (2, 17))))


def write_tiny_bundle(folder, preprocessing=PREPROCESSING, channels=("CT",), **changes):
    """A complete bundle folder whose network needs no training; `changes` replace entries of its description."""
    window = (16, 16, 16)
    network = UnetrSettings(window=window, patch_size=8, channels=len(channels), classes=3, hidden_size=48, heads=4)
    description = Description(
        **{
            "name": "tiny",
            "title": "Tiny",
            "description": "Tells dark, grey and bright apart.",
            "version": "1.0.0",
            "modality": "MR",
            "channels": channels,
            "preprocessing": preprocessing,
            "window": window,
            "labels": LABELS,
            "network": network.to_json(),
            **changes,
        }
    )
    header = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    contents = {
        "segmentation.json": json.dumps(description.to_json()).encode(),
        "models/model.onnx": threshold_onnx(window, len(channels)),
        "models/model.safetensors": struct.pack("<Q", len(header)) + header + bytes(4),
    }
    (folder / "models").mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    (folder / "sha256.json").write_text(json.dumps(hashes))
    return folder
