"""The model card and the licence file that travel with a model."""

from __future__ import annotations

from typing import Any

from mimseg.bundle.description import Description
from mimseg.bundle.documents.card_tables import rendered, table
from mimseg.bundle.documents.card_training import models_before, training_tables
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
    """Content of `docs/README.md`, in Markdown: what a user must know first, how it was trained last."""
    sections = [
        f"# {description.title}",
        f"**{description.intended_use}**",
        description.description,
        _facts(description),
        "## Use\n\n" + _use(description),
        "## Limits\n\n" + _limits(description),
        "## Structures\n\n" + _labels(description),
        *_scores(description.scores),
        "## Licence and sources\n\n" + _sources(description),
        "## Training\n\n" + (training_tables(description.training) or "Not stated."),
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
    return table(["", ""], [[name, value] for name, value in rows.items() if value])


def _labels(description: Description) -> str:
    rows = []
    for label in description.labels:
        codes = [code for code in (label.type, label.modifier) if code]
        meaning = ", ".join(f"{code.meaning} ({code.scheme} {code.value})" for code in codes)
        rows.append([label.value, label.name, "#{:02x}{:02x}{:02x}".format(*label.color), meaning or "-"])
    return table(["Value", "Name", "Colour", "Code"], rows)


def _use(description: Description) -> str:
    command = f"mimseg segment scan.nii.gz --model {description.name} -o segmentation.seg.nrrd"
    quick = f"\n{command} --quick" if description.quick else ""
    return (
        f"```\n{command}{quick}\n```\n\n"
        "or, with MONAI, in the folder of this model:\n\n"
        "```\npython -m monai.bundle run --config_file configs/inference.json --dataset_dir IN --output_dir OUT\n```"
    )


def _scores(scores: dict[str, Any]) -> list[str]:
    return ["## Scores\n\n" + rendered(scores)] if scores else []


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
    own = {description.licence, description.attribution, description.citation}
    for model in models_before(description.training):
        told = [str(model[name]) for name in ("licence", "attribution", "citation") if model.get(name)]
        earlier = model["model"] == description.name and {model.get("licence"), model.get("citation")} <= own
        if not earlier and not own.issuperset(told):
            sentences = " ".join(f"{text.rstrip('.')}." for text in told)
            lines.append(f"It was trained further from {model['model']} {model.get('version', '')}: {sentences}")
    return "\n\n".join(lines)
