"""The model card and the licence file that travel with a model."""

from __future__ import annotations

from typing import Any

from mimseg.bundle.description import Description
from mimseg.bundle.quick_mode import spacing_in_words

_URLS = {
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "MIT": "https://opensource.org/license/mit",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/legalcode",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/legalcode",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/legalcode",
    "CC-BY-NC-4.0": "https://creativecommons.org/licenses/by-nc/4.0/legalcode",
    "CC-BY-NC-SA-4.0": "https://creativecommons.org/licenses/by-nc-sa/4.0/legalcode",
}


def licence_text(description: Description) -> str:
    """Content of `LICENSE`."""
    url = _URLS.get(description.licence, "")
    lines = [
        f"Model {description.name} {description.version}",
        "",
        f"Licence of the weights and of this description: {description.licence}",
        *([url] if url else []),
        *(["", description.attribution] if description.attribution else []),
        "",
        description.intended_use,
        "The model is provided as it is, without warranties or conditions of any kind.",
    ]
    return "\n".join(lines) + "\n"


def model_card(description: Description) -> str:
    """Content of `docs/README.md`, in Markdown."""
    sections = [
        f"# {description.title}",
        f"**{description.intended_use}**",
        description.description,
        _facts(description),
        "## Structures\n\n" + _labels(description),
        "## Use\n\n" + _use(description),
        *_scores(description.scores),
        "## Training\n\n" + (_training(description.training) or "Not stated."),
        "## Limits\n\n" + _limits(description),
        "## Licence and sources\n\n" + _sources(description),
    ]
    return "\n\n".join(section for section in sections if section.strip()) + "\n"


def _facts(description: Description) -> str:
    rows = {
        "Name and version": f"`{description.name}` {description.version}",
        "Input": f"{description.modality} ({', '.join(description.channels)})",
        "Network": description.network_settings.in_words(),
        "Working spacing": spacing_in_words(description.preprocessing.spacing),
        "Window": " x ".join(str(edge) for edge in description.window) + " voxels",
        "Overlap of windows": f"{description.overlap:g}",
        "Quick mode": description.quick_in_words(),
        "Region": f"{description.locator.in_words()}." if description.locator else "",
        "Afterwards": description.pieces_in_words(),
        "Made with": ", ".join(f"{name} {version}" for name, version in sorted(description.versions.items())),
    }
    return _table(["", ""], [[name, value] for name, value in rows.items() if value])


def _labels(description: Description) -> str:
    rows = []
    for label in description.labels:
        codes = [code for code in (label.type, label.modifier) if code]
        meaning = ", ".join(f"{code.meaning} ({code.scheme} {code.value})" for code in codes)
        rows.append([label.value, label.name, "#{:02x}{:02x}{:02x}".format(*label.color), meaning or "-"])
    return _table(["Value", "Name", "Colour", "Code"], rows)


def _use(description: Description) -> str:
    command = f"mimseg segment scan.nii.gz --model {description.name} -o segmentation.seg.nrrd"
    quick = f"\n{command} --quick" if description.quick else ""
    return (
        f"```\n{command}{quick}\n```\n\n"
        "or, with MONAI, in the folder of this model:\n\n"
        "```\npython -m monai.bundle run --config_file configs/inference.json --dataset_dir IN --output_dir OUT\n```"
    )


def _scores(scores: dict[str, Any]) -> list[str]:
    return ["## Scores\n\n" + _rendered(scores)] if scores else []


def _training(training: dict[str, Any]) -> str:
    """One table per step; hashes and lists stay in `segmentation.json`."""
    return _rendered({name: value for name, value in training.items() if value})


def _limits(description: Description) -> str:
    text = (
        f"Trained on {description.modality} of the kind named above only; other scanners, sequences, ages and diseases "
        "may fail without a sign. Look at every result."
    )
    if description.field_of_view_mm:
        extent = " x ".join(f"{edge:.0f}" for edge in description.field_of_view_mm)
        text += f" The training volumes measured about {extent} mm; "
        text += (
            "it finds its region in larger scans by itself, but only as well as the other model does."
            if description.locator
            else "crop larger scans to the region of interest."
        )
    return text


def _sources(description: Description) -> str:
    lines = [f"Licence: {description.licence}."]
    lines += [description.attribution] if description.attribution else []
    lines += [f"Please cite: {description.citation}"] if description.citation else []
    return "\n\n".join(lines)


def _rendered(value: dict[str, Any], level: int = 3) -> str:
    """Nested results as tables: numbers together, like records as rows, everything else under its own heading."""
    plain = {name: _joined(item) for name, item in value.items() if _joined(item) is not None}
    parts = []
    if plain:
        parts.append(_table(["", ""], [[_words(name), item] for name, item in plain.items()]))
    # Long tables of single cases come last.
    for name, item in sorted(value.items(), key=lambda entry: isinstance(entry[1], list)):
        heading = f"{'#' * level} {_words(name)[:1].upper()}{_words(name)[1:]}"
        if isinstance(item, dict) and item:
            complete = all(isinstance(inner, dict) for inner in item.values())
            records = _records([{"": key, **inner} for key, inner in item.items()]) if complete else ""
            body = records or _rendered(item, min(level + 1, 6))
        elif isinstance(item, list) and item and all(isinstance(inner, dict) for inner in item):
            body = _records(item)
        else:
            continue
        if body:
            parts.append(f"{heading}\n\n{body}")
    return "\n\n".join(parts)


def _joined(value: Any) -> Any:
    """A simple value, or a few numbers (an interval, a size) in one text; None for everything else."""
    if isinstance(value, list) and 0 < len(value) <= 4 and all(type(item) in (int, float) for item in value):
        return ", ".join(_cell(item) for item in value)
    return None if isinstance(value, (dict, list)) else value


def _records(records: list[dict[str, Any]]) -> str:
    """Records of simple values as one table, or nothing if some value is not simple."""
    if not records or any(isinstance(value, (dict, list)) for record in records for value in record.values()):
        return ""
    columns = list(dict.fromkeys(name for record in records for name in record))
    return _table([_words(name) for name in columns], [[record.get(name) for name in columns] for record in records])


def _table(head: list[str], rows: list[list[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _words(name: str) -> str:
    return str(name).replace("_", " ")
