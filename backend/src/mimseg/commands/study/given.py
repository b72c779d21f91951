"""The weights that a study is given: what they are, what they decide, and whether they know the validation cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mimseg.commands.study.settings import StudySettings
from mimseg.data.cases import Case
from mimseg.data.preprocessing import Preprocessing
from mimseg.errors import UserError
from mimseg.networks.settings import pretrainable
from mimseg.studies.given import GivenWeights
from mimseg.training.planning import plan_preprocessing
from mimseg.training.start.initial_weights import InitialWeights, read_initial_weights
from mimseg.training.start.known_cases import count_known, learned_from


def read_given(settings: StudySettings) -> tuple[StudySettings, InitialWeights]:
    """The study with the network, window, spacing and intensities of its given weights; and these.

    Raises:
        UserError: They are no pre-training run and no model, are damaged, of another network than was asked for, or of
            one that cannot be pre-trained.
    """
    design = settings.design
    initial = read_initial_weights(str(settings.initial), design.network if settings.network_asked else None)
    network = pretrainable(initial.network)
    initial.check_modality(design.modality, "Leave out --modality.")
    origin = _origin(initial.provenance)
    given = GivenWeights(
        sha256=initial.sha256,
        words=_words(initial),
        whole=any(not name.startswith(f"{network.encoder}.") for name in initial.weights),
        preprocessing=_preprocessing(initial),
        known_cases=len(learned_from(initial.provenance)) or None,
        **{name: str(origin.get(name) or "") for name in ("licence", "attribution", "citation")},
    )
    design = replace(
        design,
        given=given,
        network=network,
        modality=initial.modality,
        window=design.window or network.window,
        spacing=design.spacing or initial.preprocessing.spacing,
    )
    return replace(settings, design=design), initial


def refuse_known(initial: InitialWeights, validation: Sequence[Case]) -> None:
    """Refuse given weights that say they learned from validation cases.

    Raises:
        UserError: They do.
    """
    known = count_known(validation, learned_from(initial.provenance))
    if known:
        raise UserError(
            f"The given weights learned from {known} of the {len(validation)} cases that score the study.",
            "Choose other cases with --validation, or weights that have not seen these.",
            code="leaking-validation",
        )


def _preprocessing(initial: InitialWeights) -> dict[str, Any] | None:
    """As plain data, without the spacing; None if a study of such scans has the same without given weights."""
    own = replace(initial.preprocessing, spacing=None)
    _, usual = plan_preprocessing((), initial.modality, (1.0, 1.0, 1.0))
    return None if own == replace(usual, spacing=None) else own.to_json()


def preprocessing_of(values: dict[str, Any]) -> Preprocessing:
    """That of a run with these settings."""
    if "preprocessing" in values:
        return Preprocessing.from_json({**values["preprocessing"], "spacing": values["spacing"]})
    x, y, z = values["spacing"]
    return plan_preprocessing((), values["modality"], (x, y, z))[1]


def _words(initial: InitialWeights) -> str:
    """What they are, without names of files."""
    known, title = initial.provenance, initial.network.title
    if "model" in known:
        return f"the model {known['model']} {known['version']}, {title}"
    if known.get("method") == "imported":
        return f"encoder of {title}, imported ({known['from']})"
    return f"encoder of {title}, pre-trained by {known['method']} on {known['volumes']} volumes"


def _origin(provenance: dict[str, Any]) -> dict[str, Any]:
    """What says the licence: a pre-training that continued others' weights has theirs."""
    while "licence" not in provenance and isinstance(provenance.get("initial"), dict):
        provenance = provenance["initial"]
    return provenance
