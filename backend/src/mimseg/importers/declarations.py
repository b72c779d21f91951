"""What bundles declare about themselves beside their weights: plain values only, no expression is evaluated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mimseg.data.labels.structures import Label, distinct_color
from mimseg.data.preprocessing import Preprocessing


@dataclass(frozen=True)
class Declared:
    """What is known of a model besides its tensors; None or empty where nothing usable is declared.

    Attributes:
        kind: `MONAI Bundle`, `MONAIAuto3DSeg model`, or empty for a plain file of weights.
        title: One line for people.
        description: Some sentences.
        version: Of the model.
        modality: `CT` or `MR`.
        channels: What each input channel is.
        labels: Structures.
        multilabel: The outputs are independent (sigmoid).
        preprocessing: From the scan to the network's input.
        window: Voxels along x, y, z.
        heads: Attention heads.
        sizes: Others of the network that its tensors must have, by the names of our settings.
        overlap: Share of a window that its neighbour covers too.
        attribution: Whose work it is.
        citation: What to cite.
        notes: What could not be taken over, and why.
    """

    kind: str = ""
    title: str = ""
    description: str = ""
    version: str = ""
    modality: str | None = None
    channels: tuple[str, ...] = ()
    labels: tuple[Label, ...] | None = None
    multilabel: bool | None = None
    preprocessing: Preprocessing | None = None
    window: tuple[int, int, int] | None = None
    heads: int | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    overlap: float | None = None
    attribution: str = ""
    citation: str = ""
    notes: tuple[str, ...] = ()


def parse_json(text: bytes | None) -> dict[str, Any]:
    """An object from JSON, or an empty one if there is none."""
    try:
        content = json.loads(text or b"{}")
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def plain(value: Any, beside: Mapping[str, Any] | None = None) -> Any:
    """A declared value without code: expressions (`$...`) and macros (`%...`) become None.

    Args:
        value: Anything from a configuration.
        beside: The configuration, in which a reference `@name` to a plain value at the top is looked up.
    """
    if isinstance(value, str) and value.startswith(("$", "%", "@")):
        target = (beside or {}).get(value[1:]) if value.startswith("@") else None
        return None if isinstance(target, str) and target.startswith(("$", "%", "@")) else target
    if isinstance(value, Mapping):
        return {key: plain(item, beside) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, beside) for item in value]
    return value


def text(value: Any) -> str:
    """The value if it is a text, otherwise an empty one."""
    return value.strip() if isinstance(value, str) else ""


def number(value: Any) -> float | None:
    """The value if it is a number, otherwise None."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def three(value: Any) -> tuple[float, float, float] | None:
    """Three numbers (one number stands for all), or None."""
    values = value if isinstance(value, (list, tuple)) else [value] * 3
    if len(values) != 3:
        return None
    x, y, z = (number(item) for item in values)
    return None if x is None or y is None or z is None else (x, y, z)


def window_of(value: Any) -> tuple[int, int, int] | None:
    """Three positive whole numbers, or None."""
    found = three(value)
    if found is None or any(edge != int(edge) or edge < 1 for edge in found):
        return None
    x, y, z = (int(edge) for edge in found)
    return x, y, z


def modality_of(value: Any) -> str | None:
    """`CT` or `MR` as written by others (`MRI`, `mr`, `ct`), or None."""
    return {"ct": "CT", "mr": "MR", "mri": "MR"}.get(text(value).lower())


def labels_named(names: Mapping[int, str]) -> tuple[Label, ...]:
    """Labels of these values and names, with colours of our choice."""
    return tuple(Label(value, name, distinct_color(index)) for index, (value, name) in enumerate(sorted(names.items())))
