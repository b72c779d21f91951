"""What files of weights seldom say: preprocessing, modality, structures. From options, else from declarations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mimseg.commands.models.import_settings import ImportSettings
from mimseg.data.labels.structures import Label, read_labels
from mimseg.data.preprocessing import Preprocessing
from mimseg.data.preprocessing_presets import PRESETS, Preset, read_preprocessing
from mimseg.errors import UserError
from mimseg.importers.declarations import Declared
from mimseg.networks.settings import NetworkSettings


@dataclass(frozen=True)
class ImportInputs:
    """What goes into an imported network and what comes out of it.

    Attributes:
        preprocessing: From the scan to the network's input.
        modality: `CT` or `MR`.
        channels: What each input channel is.
        labels: Structures; empty for an encoder.
        multilabel: The outputs are independent (sigmoid).
        notes: What differs from the source.
    """

    preprocessing: Preprocessing
    modality: str
    channels: tuple[str, ...]
    labels: tuple[Label, ...]
    multilabel: bool
    notes: tuple[str, ...] = ()


def decide_inputs(settings: ImportSettings, declared: Declared, segments: bool, shape: NetworkSettings) -> ImportInputs:
    """From options, else from declarations.

    Args:
        settings: The options.
        declared: The declarations.
        segments: The network segments, so its structures must be known.
        shape: Of the network.

    Raises:
        UserError: naming everything that neither says.
    """
    preset = PRESETS.get(settings.preprocessing or "")
    preprocessing = declared.preprocessing
    if settings.preprocessing:
        preprocessing = preset.preprocessing if preset else read_preprocessing(Path(settings.preprocessing))
    modality = settings.modality or (preset.modality if preset else declared.modality)
    labels = read_labels(settings.labels) if settings.labels else declared.labels
    wanted = {
        "how its scans were prepared: --preprocessing btcv, brats or FILE.json": preprocessing,
        "the modality: --modality CT or MR": modality,
        "its structures: --labels FILE.json": labels if segments else (),
    }
    missing = [text for text, value in wanted.items() if value is None]
    if preprocessing is None or modality is None or missing:
        reasons = " ".join(declared.notes)
        raise UserError(
            f"The file does not say what is needed to use it. {reasons}".strip(),
            f"Give {'; '.join(missing)}.",
            "import-needs",
        )
    multilabel = settings.multilabel or bool(declared.multilabel)
    if segments:
        _check_number(labels or (), shape.classes, multilabel)
    notes = ("z-scores are cut at 5 standard deviations here.",) if preprocessing.intensity.kind == "zscore" else ()
    channels = _channels(shape.channels, modality, declared, preset)
    return ImportInputs(preprocessing, modality, channels, labels or (), multilabel, notes)


def _check_number(labels: tuple[Label, ...], classes: int, multilabel: bool) -> None:
    expected = classes if multilabel else classes - 1
    if len(labels) != expected:
        raise UserError(
            f"{len(labels)} structures are named, but the network tells {expected} apart"
            + (" (every output is one)." if multilabel else " besides the background."),
            "Name as many in --labels; if the outputs are independent (sigmoid), add --multilabel.",
            "bad-labels",
        )


def _channels(count: int, modality: str, declared: Declared, preset: Preset | None) -> tuple[str, ...]:
    for names in (declared.channels, preset.channels if preset else ()):
        if len(names) == count:
            return names
    return (modality,) if count == 1 else tuple(f"channel {number + 1}" for number in range(count))
