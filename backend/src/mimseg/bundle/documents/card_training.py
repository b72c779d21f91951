"""How a model was trained, for its card: the last training in full, those before it in a line each."""

from __future__ import annotations

from typing import Any

from mimseg.bundle.documents.card_tables import rendered, table

# What a training knows of the scans it saw.
_VOLUMES, _PLACES = "volumes_ml", "places_mm"


def training_tables(training: dict[str, Any]) -> str:
    """Tables of a description's `training`, or nothing; hashes and lists stay in `segmentation.json`."""
    told_apart = ("pretraining", _VOLUMES, _PLACES)
    own = {name: value for name, value in training.items() if value and name not in told_apart}
    return "\n\n".join(part for part in (rendered(own), _before(training), _structures(training)) if part)


def models_before(training: dict[str, Any]) -> list[dict[str, Any]]:
    """The models that a training went on from, the latest first, each with what it says of itself."""
    models, start = [], training.get("pretraining")
    while isinstance(start, dict) and isinstance(start.get("training"), dict):
        models.append(start)
        start = start["training"].get("pretraining")
    return models


def _before(training: dict[str, Any]) -> str:
    """What the weights went through before: models in a line each, then a pre-training run."""
    models = models_before(training)
    first = (models[-1]["training"] if models else training).get("pretraining")
    parts = []
    if models:
        lines = [_line(one) for one in models]
        # Older models did not record all of it.
        known = [name for name in lines[0] if any(line[name] is not None for line in lines)]
        rows = table(known, [[line[name] for name in known] for line in lines])
        parts.append(f"### Trained further from\n\n{rows}\n\nTheir settings are in `segmentation.json`.")
    if isinstance(first, dict) and first:
        parts.append(f"### Pre-training\n\n{rendered(first, 4)}")
    return "\n\n".join(parts)


def _line(model: dict[str, Any]) -> dict[str, Any]:
    told = model["training"].get("finetuning") or {}
    seconds = told.get("seconds")
    return {
        "Model": f"{model.get('model', '-')} {model.get('version', '')}".strip(),
        "Steps": told.get("steps"),
        "Minutes": None if seconds is None else round(seconds / 60),
        "Cases": told.get("training_cases"),
        "Window": _times((told.get("network") or {}).get("window"), " voxels"),
        "Working spacing": _times((told.get("preprocessing") or {}).get("spacing"), " mm"),
    }


def _times(numbers: list[float] | None, unit: str) -> str | None:
    return " x ".join(f"{number:g}" for number in numbers) + unit if numbers else None


def _structures(training: dict[str, Any]) -> str:
    """Volume of each structure in the training cases, and where it lay."""
    volumes, places = training.get(_VOLUMES) or {}, training.get(_PLACES) or {}
    rows = [
        [name, *(own.get(bound) for bound in ("least", "largest")), *_place(places.get(name))]
        for name, own in volumes.items()
    ]
    if not rows:
        return ""
    head = ["Structure", "Least mL", "Largest mL", "Left mm", "Back mm", "Up mm"]
    return (
        "### Structures in the training cases\n\nVolumes, and middles as seen from the middle of all of them. What is "
        f"found elsewhere is judged by these.\n\n{table(head, rows)}"
    )


def _place(place: dict[str, float] | None) -> list[float | None]:
    return [(place or {}).get(axis) for axis in ("left", "back", "up")]
