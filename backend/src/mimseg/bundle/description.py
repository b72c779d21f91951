"""`segmentation.json`: everything about a model that `mimseg segment` and its user must know, weights aside."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from mimseg.bundle.locator import Locator
from mimseg.bundle.quick_mode import QuickMode
from mimseg.data.labels.structures import Label, labels_from_json
from mimseg.data.preprocessing import Preprocessing
from mimseg.errors import UserError
from mimseg.networks.settings import NetworkSettings

FORMAT = "mimseg"
FORMAT_VERSION = 1
MODALITIES = ("CT", "MR")
INTENDED_USE = "Research use only. Not a medical device; not for diagnosis or treatment."

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_WINDOWS_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
_SHOWN_NAMES = 4
_LARGEST_FILE = 16 * 1024 * 1024


@dataclass(frozen=True)
class Description:
    """What a model is, what it wants as input, and what its output means.

    Attributes:
        name: Identifier and folder name: lower-case letters, digits, `.`, `_`, `-`.
        title: Shown to people.
        description: What it segments and for whom, in a few sentences.
        version: Of this model, e.g. `1.0.0`.
        modality: `CT` or `MR`.
        channels: What each input channel is, e.g. `("T1",)`.
        preprocessing: From the scan to the network's input.
        window: Voxels along x, y, z that the network sees at once.
        labels: Structures, ordered by value. Class k of the network (0 is background) is `labels[k - 1]`;
            with `multilabel`, channel k is `labels[k]`.
        network: Name and sizes of the network, `NetworkSettings.to_json()`.
        multilabel: Structures may overlap: channels are independent (sigmoid) and there is no background channel.
        overlap: Share of a window that its neighbour covers too.
        quick: A coarser mode with its measured loss, or None.
        locator: How it finds its region in a scan much larger than `field_of_view_mm`, or None.
        one_piece: Groups of structures, by name, of which each hangs together: of what is found of a group only the
            largest piece is kept, group after group; of a single structure also other pieces that are no islands
            (`mimseg.data.labels.connected`). Structures that may overlap have none.
        field_of_view_mm: Usual extent of the training volumes along x, y, z, or None if unknown.
        training: How it was trained: pre-training, fine-tuning, transfer report, hashes of the cases (no names).
        scores: Measured accuracy, per case and in summary.
        licence: SPDX identifier or name of the licence of the weights.
        attribution: Whose data and work it is made of.
        citation: What to cite.
        intended_use: And what it must not be used for.
        versions: Of the software that made it, by package name.
    """

    name: str
    title: str
    description: str
    version: str
    modality: str
    channels: tuple[str, ...]
    preprocessing: Preprocessing
    window: tuple[int, int, int]
    labels: tuple[Label, ...]
    network: dict[str, Any]
    multilabel: bool = False
    overlap: float = 0.5
    quick: QuickMode | None = None
    locator: Locator | None = None
    one_piece: tuple[tuple[str, ...], ...] = ()
    field_of_view_mm: tuple[float, float, float] | None = None
    training: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    licence: str = "Apache-2.0"
    attribution: str = ""
    citation: str = ""
    intended_use: str = INTENDED_USE
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name)
        _check_consistency(self)

    @property
    def network_settings(self) -> NetworkSettings:
        """`network` as settings that a torch network can be built from."""
        return NetworkSettings.from_json(self.network)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary, as stored in `segmentation.json`; numbers that JSON lacks (NaN) become None."""
        content: dict[str, Any] = {"format": FORMAT, "format_version": FORMAT_VERSION}
        content.update({entry.name: getattr(self, entry.name) for entry in fields(self)})
        content["preprocessing"] = self.preprocessing.to_json()
        content["labels"] = [label.to_json() for label in self.labels]
        for name in ("quick", "locator"):
            entry = getattr(self, name)
            if entry is None:
                del content[name]  # readers older than the quick mode or the locator know no such entry
            else:
                content[name] = entry.to_json()
        if not self.one_piece:
            del content["one_piece"]  # likewise
        return _plain(content)

    def in_quick_mode(self) -> Description:
        """The same model at the spacing and overlap of its quick mode.

        Raises:
            UserError: It has none.
        """
        if self.quick is None:
            remedy = "Leave out --quick, or measure one on labelled cases: mimseg measure MODEL DATA."
            raise UserError(f"The model {self.name} has no quick mode.", remedy, "no-quick-mode")
        preprocessing = replace(self.preprocessing, spacing=self.quick.spacing)
        return replace(self, preprocessing=preprocessing, overlap=self.quick.overlap, quick=None)

    @property
    def pieces(self) -> list[list[int]]:
        """`one_piece` as classes of the network."""
        classes = {label.name: number for number, label in enumerate(self.labels, start=1)}
        return [[classes[name] for name in group] for group in self.one_piece]

    def pieces_in_words(self) -> str:
        """What is dropped of what is found, in a line; empty if nothing is."""
        groups = [group for group in self.one_piece if len(group) > 1]
        named = ["all structures together" if len(group) == len(self.labels) else _listed(group) for group in groups]
        single = tuple(group[0] for group in self.one_piece if len(group) == 1)
        parts = [
            f"only the largest piece is kept of {'; of '.join(named)}" if named else "",
            f"pieces smaller than a tenth of the largest are dropped from {_listed(single)}" if single else "",
        ]
        return "; ".join(part for part in parts if part)

    def quick_in_words(self) -> str:
        """What the quick mode does and costs, in a line; empty if there is none."""
        if self.quick is None:
            return ""
        version = (self.scores.get("summary") or {}).get("version")
        measured = f" (measured with version {version})" if version else ""
        return self.quick.in_words(self.preprocessing.spacing) + measured

    @classmethod
    def from_json(cls, content: Any, where: str = "segmentation.json") -> Description:
        """The description that `to_json` wrote.

        Args:
            content: The parsed JSON.
            where: Where it came from, for messages.

        Raises:
            UserError: It is of another format or version, or an entry is missing, unknown or not usable.
        """
        _check_format(content, where)
        values = {key: value for key, value in content.items() if key not in ("format", "format_version")}
        values = {"quick": None, "locator": None, "one_piece": [], **values}
        known = {entry.name for entry in fields(cls)}
        wrong = known.symmetric_difference(values)
        if wrong:
            raise _fault(where, f"lacks or does not know the entries {', '.join(sorted(map(str, wrong)))}")
        for name, (convert, expected) in _CONVERSIONS.items():
            try:
                values[name] = convert(values[name])
            except (TypeError, ValueError) as fault:
                raise _fault(where, f'has {values[name]!r} as "{name}", which is not {expected}') from fault
        try:
            values["preprocessing"] = Preprocessing.from_json(values["preprocessing"])
            values["labels"] = labels_from_json(values["labels"], where)
            values["quick"] = None if values["quick"] is None else QuickMode.from_json(values["quick"])
            values["locator"] = None if values["locator"] is None else Locator.from_json(values["locator"])
            return cls(**values)
        except UserError as fault:
            raise UserError(f"{where}: {fault.message}", fault.hint, "bad-model") from fault


def read_description(path: Path) -> Description:
    """Read and check a `segmentation.json`.

    Raises:
        UserError: The file is missing, too large, not JSON, or its content is not usable.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise _fault(str(path), f"is larger than {_LARGEST_FILE // 1024**2} MB")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as fault:
        raise UserError(f"{path} cannot be read ({fault}).", "Get the model again.", "bad-model") from fault
    return Description.from_json(content, str(path))


def check_name(name: str) -> None:
    """Raise UserError unless `name` can be the name of a model and of its folder on every system."""
    if not _NAME.fullmatch(name) or name.split(".")[0] in _WINDOWS_DEVICES or name.endswith(".zip"):
        raise UserError(
            f"{name!r} cannot be the name of a model.",
            "Use up to 64 lower-case letters, digits, '.', '_' and '-', for example hippocampus-mr.",
            "bad-name",
        )


def _check_format(content: Any, where: str) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(
            f"{where} does not describe a model of mimseg.", "Give a model that mimseg made.", "not-a-model"
        )
    version = content.get("format_version")
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise UserError(
            f"{where} has format version {version!r}; this mimseg reads version {FORMAT_VERSION}.",
            "Update mimseg, or get the model in that version.",
            "model-version",
        )


def _check_consistency(description: Description) -> None:
    """What several entries say together, or what their types leave open."""
    network = description.network_settings
    classes = len(description.labels) + (0 if description.multilabel else 1)
    demands = {
        f"the modality is {description.modality!r}, not one of {MODALITIES}": description.modality in MODALITIES,
        "there is no channel or no label": bool(description.channels) and bool(description.labels),
        "the labels are not ordered by value": list(description.labels)
        == sorted(description.labels, key=lambda label: label.value),
        f"the overlap is {description.overlap}, not in 0..0.95": 0 <= description.overlap <= 0.95,
        "the quick mode is not coarser than the working spacing": description.quick is None
        or description.quick.is_coarser_than(description.preprocessing.spacing),
        f"the network's window {network.window} is not {description.window}": network.window == description.window,
        f"the network has {network.channels} channels, not {len(description.channels)}": network.channels
        == len(description.channels),
        f"the network has {network.classes} classes, not {classes}": network.classes == classes,
        "there is a locator, but no field of view for its boxes": description.locator is None
        or description.field_of_view_mm is not None,
        f"structures that hang together, {description.one_piece}, are not all among the labels, or may overlap": {
            name for group in description.one_piece for name in group
        }
        <= {label.name for label in (() if description.multilabel else description.labels)}
        and all(description.one_piece),
        f"the field of view is {description.field_of_view_mm}": description.field_of_view_mm is None
        or all(0 < extent < 1e5 for extent in description.field_of_view_mm),
        "title, version or intended use is empty": all(
            text.strip() for text in (description.title, description.version, description.intended_use)
        ),
    }
    broken = [fault for fault, holds in demands.items() if not holds]
    if broken:
        raise UserError(f"The model {description.name} is inconsistent: {'; '.join(broken)}.", code="bad-model")


def _kind(kind: type) -> Callable[[Any], Any]:
    """A function that gives back values of this type and raises TypeError at others."""

    def read(value: Any) -> Any:
        if not isinstance(value, kind):
            raise TypeError
        return value

    return read


def _list_of(convert: Callable[[Any], Any], length: int | None = None) -> Callable[[Any], tuple[Any, ...]]:
    """A function that makes a tuple of lists, of this length if one is given, and raises TypeError at others."""

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or length not in (None, len(value)):
            raise TypeError
        return tuple(convert(item) for item in value)

    return read


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError
    return float(value)


def _whole_number(value: Any) -> int:
    if type(value) is not int:
        raise TypeError
    return value


def _extent(value: Any) -> tuple[float, ...] | None:
    return None if value is None else _list_of(_number, 3)(value)


def _versions(value: Any) -> dict[str, str]:
    return {name: _text(version) for name, version in _object(value).items()}


def _listed(names: tuple[str, ...]) -> str:
    """Names in a line; of many, how many more there are."""
    shown = ", ".join(names[:_SHOWN_NAMES])
    return shown if len(names) <= _SHOWN_NAMES else f"{shown} and {len(names) - _SHOWN_NAMES} more"


_text, _object = _kind(str), _kind(dict)
_TEXTS = ("name", "title", "description", "version", "modality", "licence", "attribution", "citation", "intended_use")
_CONVERSIONS: dict[str, tuple[Callable[[Any], Any], str]] = {
    **dict.fromkeys(_TEXTS, (_text, "a text")),
    "channels": (_list_of(_text), "a list of texts"),
    "window": (_list_of(_whole_number, 3), "three whole numbers"),
    "labels": (_list_of(_object), "a list of labels"),
    "network": (_object, "an object"),
    "multilabel": (_kind(bool), "true or false"),
    "overlap": (_number, "a number"),
    "one_piece": (_list_of(_list_of(_text)), "lists of texts"),
    "field_of_view_mm": (_extent, "three numbers or null"),
    "training": (_object, "an object"),
    "scores": (_object, "an object"),
    "versions": (_versions, "an object of texts"),
}


def _plain(value: Any) -> Any:
    """The value as JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _fault(where: str, fault: str) -> UserError:
    return UserError(f"{where} {fault}.", "The model is damaged or was made by another version of mimseg.", "bad-model")
