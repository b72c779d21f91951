"""Label values and names: unknown ones, missing structures, empty labelmaps, names that differ between cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mimseg.checks.cases.loaded_case import LoadedCase
from mimseg.checks.comparison import USUAL_SHARE, share_of_others
from mimseg.checks.context import Context
from mimseg.checks.finding import Finding, Spot

# In fewer than this share of the other cases, a value that nothing names looks like a mistake.
_RARE_SHARE = 0.2
# Of a list of cases.
_MOST_NAMED = 5


@dataclass(frozen=True)
class LabelValues:
    """What a labelmap holds: voxels by value, names that its file gives, number type of the file."""

    voxels: dict[int, int]
    segment_names: dict[int, str]
    stored_type: str


def measure(case: LoadedCase) -> LabelValues | None:
    """The values of a case; None if it has no usable labelmap."""
    if case.labels is None:
        return None
    voxels = {value: structure.voxels for value, structure in case.structures.items()}
    return LabelValues(voxels, case.segment_names, case.stored_type)


def find(measured: Mapping[str, LabelValues | None], context: Context) -> list[Finding]:
    """See the module."""
    labelled = {name: values for name, values in measured.items() if values is not None}
    drawn = {name: values for name, values in labelled.items() if values.voxels}
    trained = [name for name in labelled if name in (context.training or labelled)]
    if not any(name in drawn for name in trained):
        findings = _all_empty(trained, len(labelled))
    else:
        findings = [_empty(name) for name in labelled if name not in drawn]
        findings += _nothing_to_score([name for name in labelled if name in (context.validation or ())], drawn)
    findings += _unknown(drawn, context) if context.names else _rare(drawn)
    findings += _missing(drawn, context)
    findings += _rare_names(labelled) if context.named_by_files else []
    return findings + _stored_as_decimals(labelled)


def _empty(name: str) -> Finding:
    text = "The labelmap is empty: every voxel is background."
    remedy = "Draw the structures if that was forgotten; keep the case as it is if none of them is there."
    return Finding(name, "warning", "empty-label", text, remedy, {"voxels": 0}, (Spot(name, "the unlabelled volume"),))


def _all_empty(trained: Sequence[str], labelled: int) -> list[Finding]:
    """All cases that are trained on are empty; of `labelled` cases, the others validate."""
    if not trained:
        return []
    remedy = "Draw the structures, or check that these are the right files."
    if len(trained) == labelled:
        text = f"The labelmaps of all {labelled} cases are empty: there is nothing to learn."
    else:
        text = (
            f"The labelmaps of all {len(trained)} training cases are empty ({_names(trained)}): there is nothing to "
            "learn."
        )
        remedy += " If only validation cases show the structures, train on some of them (--cases, --validation)."
    return [Finding("", "error", "nothing-labelled", text, remedy, {"cases": list(trained)}, (Spot(trained[0], ""),))]


def _nothing_to_score(validating: Sequence[str], drawn: Mapping[str, LabelValues]) -> list[Finding]:
    """Of cases without structures, the model that finds nothing would be the best one."""
    if not validating or any(name in drawn for name in validating):
        return []
    names = _names(validating)
    text = f"The labelmaps of all validation cases are empty ({names}): they cannot show how good a model is."
    remedy = "Choose validation cases that show the structures (--validation), and train on the empty ones."
    evidence = {"cases": list(validating)}
    return [Finding("", "error", "nothing-to-score", text, remedy, evidence, (Spot(validating[0], ""),))]


def _unknown(drawn: Mapping[str, LabelValues], context: Context) -> list[Finding]:
    findings = []
    for name, values in drawn.items():
        unknown = {value: count for value, count in values.voxels.items() if value not in context.names}
        if not unknown:
            continue
        text = f"The labelmap has {_listed(unknown)}, which nothing names."
        absent = [value for value in context.names if value not in values.voxels]
        if len(unknown) == 1 and len(absent) == 1:
            text += f" It lacks the structure {context.name(absent[0])}: perhaps that one is meant."
        remedy = "Name these values in the label file, or change or remove them in the labelmap."
        findings.append(Finding(name, "error", "unknown-label-value", text, remedy, {"voxels_by_value": unknown}))
    return findings


def _rare(drawn: Mapping[str, LabelValues]) -> list[Finding]:
    """Values of few cases where nothing says which values are meant."""
    findings = []
    for value in sorted({value for values in drawn.values() for value in values.voxels}):
        holds = {name: value in values.voxels for name, values in drawn.items()}
        for name, share in share_of_others(holds).items():
            if holds[name] and share < _RARE_SHARE:
                count = drawn[name].voxels[value]
                text = f"Has the label value {value} ({count} voxels), which {share:.0%} of the other cases have."
                remedy = "Give the same structure the same value in every case, or name the values with --labels."
                evidence = {"value": value, "voxels": count, "share_of_others": share}
                findings.append(Finding(name, "warning", "rare-label-value", text, remedy, evidence))
    return findings


def _missing(drawn: Mapping[str, LabelValues], context: Context) -> list[Finding]:
    """Structures that nearly all other cases have; those that come and go (lesions) are a note on the data set."""
    findings = []
    used = {value for values in drawn.values() for value in values.voxels}
    for value in sorted(used & set(context.names) if context.names else used):
        holds = {name: value in values.voxels for name, values in drawn.items()}
        shares = share_of_others(holds)
        usual = [name for name, held in holds.items() if not held and shares.get(name, 1.0) >= USUAL_SHARE]
        for name in usual:
            text = f"The structure {context.name(value)} is missing, which other cases have."
            remedy = "Draw it if it was forgotten; keep the case as it is if the structure is truly absent."
            spots = (Spot(name, "what is labelled"),)
            evidence = {"value": value, "share_of_others": shares.get(name)}
            findings.append(Finding(name, "warning", "missing-structure", text, remedy, evidence, spots))
        count = sum(holds.values())
        if not usual and shares and 1 - count / len(holds) > _RARE_SHARE and context.names:
            text = f"Of {len(holds)} labelled cases, {count} have the structure {context.name(value)}."
            remedy = "Nothing, if it is a structure that not everybody has."
            findings.append(Finding("", "note", "not-in-all", text, remedy, {"value": value, "cases": count}))
    return findings + (_never_drawn(drawn, context) if drawn else [])


def _never_drawn(drawn: Mapping[str, LabelValues], context: Context) -> list[Finding]:
    """Structures that no case has, or none that is trained on."""
    structures = context.structures or {name: (value,) for value, name in context.names.items()}
    used = {value for values in drawn.values() for value in values.voxels}
    trained = {
        value for name, values in drawn.items() if name in (context.training or drawn) for value in values.voxels
    }
    findings = []
    for name, values in structures.items():
        evidence = {"value": values[0]} if len(values) == 1 else {"values": list(values)}
        shown = context.name(values[0]) if len(values) == 1 else name
        remedy = "A model cannot learn it: draw it, or remove it from the label file."
        if used.isdisjoint(values):
            text = f"No case has the structure {shown}."
            findings.append(Finding("", "warning", "never-drawn", text, remedy, evidence))
        elif trained.isdisjoint(values):
            text = f"No case that is trained on has the structure {shown}, only one that validates."
            findings.append(Finding("", "warning", "never-drawn", text, remedy, evidence))
    return findings


def _rare_names(labelled: Mapping[str, LabelValues]) -> list[Finding]:
    """Names of segments that hardly any other Slicer segmentation has, where no list says which there are."""
    names = {
        name: {text.casefold(): text for text in values.segment_names.values()} for name, values in labelled.items()
    }
    counts = Counter(key for own in names.values() for key in own)
    usual = [key for key, count in counts.items() if count >= USUAL_SHARE * (len(names) - 1)]
    findings = []
    for key in counts:
        for name, share in share_of_others({name: key in own for name, own in names.items()}).items():
            if key not in names[name] or share >= _RARE_SHARE:
                continue
            text = f"The segment “{names[name][key]}” is in {share:.0%} of the other cases."
            absent = [other for other in usual if other not in names[name]]
            if len(absent) == 1:
                known = next(own[absent[0]] for own in names.values() if absent[0] in own)
                text += f" This one lacks “{known}”: perhaps that is meant."
            remedy = "Give each structure one name in all cases."
            evidence = {"name": names[name][key], "share_of_others": share}
            findings.append(Finding(name, "warning", "label-names-differ", text, remedy, evidence))
    return findings


def _stored_as_decimals(labelled: Mapping[str, LabelValues]) -> list[Finding]:
    is_decimal = {name: values.stored_type.startswith("float") for name, values in labelled.items()}
    findings = []
    for name, share in share_of_others(is_decimal).items():
        if is_decimal[name] and share <= 1 - USUAL_SHARE:
            text = f"The labels are stored as decimal numbers ({labelled[name].stored_type}), unlike those of others."
            remedy = "Harmless, as all are whole numbers; it may show that another program resampled them."
            evidence = {"stored_type": labelled[name].stored_type}
            findings.append(Finding(name, "note", "decimal-labels", text, remedy, evidence))
    return findings


def _names(cases: Sequence[str]) -> str:
    return f"{', '.join(cases[:_MOST_NAMED])}{' ...' if len(cases) > _MOST_NAMED else ''}"


def _listed(counts: Mapping[int, int]) -> str:
    parts = [f"{value} ({count} voxels)" for value, count in sorted(counts.items())]
    return f"the value{'s' if len(parts) > 1 else ''} {', '.join(parts[:6])}{' ...' if len(parts) > 6 else ''}"
