"""The last layer of a segmentation network: a 1x1x1 convolution from a few features to many classes.

Windows of 16 features take a seventh of the memory of windows of 117 classes. Averaging them and applying the layer
afterwards gives the same logits, since it is linear.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LinearHead:
    """Logits as linear functions of features.

    Attributes:
        weight: Float32 `(K, F)`.
        bias: Float32 `(K,)`.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits `(K, ...)` of features `(F, ...)`."""
        logits = self.weight @ features.reshape(len(features), -1)
        logits += self.bias[:, None]
        return logits.reshape(-1, *features.shape[1:])


def head_of(predict: Any) -> LinearHead | None:
    """The head of an engine whose `features` ends before the last layer, or None if it has only logits."""
    head = getattr(predict, "head", None)
    return head if isinstance(head, LinearHead) and hasattr(predict, "features") else None


def split_head(network: Any) -> LinearHead | None:
    """Cut a 1x1x1 convolution with its bias off the end of an OpenVINO model that is not compiled yet.

    Args:
        network: `openvino.Model` with one output `(B, K, x, y, z)`; it is changed in place.

    Returns:
        What was cut off; None, and the model as it was, if it does not end so or has as many features as classes.
    """
    result = network.get_results()[0]
    end = result.input_value(0)
    bias = None
    if end.get_node().get_type_name() == "Add":
        values = [_constant(end.get_node().input_value(port)) for port in (0, 1)]
        if (values[0] is None) == (values[1] is None):
            return None
        bias = values[0] if values[1] is None else values[1]
        end = end.get_node().input_value(0 if values[0] is None else 1)
    convolution = end.get_node()
    if convolution.get_type_name() != "Convolution":
        return None
    weight = _constant(convolution.input_value(1))
    if weight is None or weight.shape[2:] != (1, 1, 1) or weight.shape[0] <= weight.shape[1]:
        return None
    classes, features = weight.shape[:2]
    if bias is None:
        bias = np.zeros(classes, np.float32)
    if bias.size != classes:
        return None
    result.input(0).replace_source_output(convolution.input_value(0))
    network.validate_nodes_and_infer_types()
    return LinearHead(
        np.ascontiguousarray(weight.reshape(classes, features), np.float32), bias.reshape(-1).astype(np.float32)
    )


def _constant(source: Any) -> NDArray | None:
    """Value of an output that holds a constant, perhaps stored as float16 and cast; None if it is computed.

    A bias is read without the reshaping that PyTorch's export puts after it.
    """
    node = source.get_node()
    if node.get_type_name() in ("Convert", "Reshape"):
        return _constant(node.input_value(0))
    return np.array(node.data) if node.get_type_name() == "Constant" else None
