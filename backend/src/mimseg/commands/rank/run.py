"""Ranking volumes without labels: which of them to label next, and where the model doubts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg.commands.rank.case import Ensemble, Judged
from mimseg.commands.rank.domain import odd_ones
from mimseg.commands.rank.inputs import find_unlabelled
from mimseg.commands.rank.outputs import check_folder, draw, map_paths, write_maps
from mimseg.commands.rank.report import report_paths, write_report
from mimseg.commands.rank.result import RankedCase, Ranking
from mimseg.commands.rank.selection import nearest_distances, propose
from mimseg.commands.written import Written
from mimseg.data.cases import Case, load_dataset
from mimseg.data.cases.images import read_images
from mimseg.data.volume import Volume
from mimseg.data.writers.dicom_seg import refuse_other_sources
from mimseg.errors import UserError, of_case
from mimseg.events import Reporter
from mimseg.stopping import check as check_stop


@dataclass(frozen=True)
class RankSettings:
    """What to rank, with what, and where to.

    Attributes:
        inputs: Image files, folders, data sets or case lists; see `find_unlabelled`.
        models: Names or paths; several are an ensemble, whose first one gives the features.
        output: Folder for the report and the maps.
        count: How many cases to propose.
        labelled: Data set of the cases labelled already, or None; those without an image are not compared with.
        cases: Selection of the inputs, see `mimseg.data.cases.pick_cases`; None for all.
        augment: Let each model see each scan in several ways (test-time augmentation).
        regions: Boxes x0, x1, y0, y1, z0, z1 in mm, RAS; empty takes the whole volume.
        maps: Write an uncertainty map and a labelmap of each case.
        file_format: Ending of the labelmaps.
        frame: Which volume of 4D files, from 0, or None.
        orientation: How the axes run in files that do not say so, the labelled ones included; empty for RAS.
        threads: Processor threads; None takes one for each physical core.
        replace: Replace maps and segmentations of an earlier run also where they were changed since.
    """

    inputs: tuple[Path, ...]
    models: tuple[str, ...]
    output: Path
    count: int = 5
    labelled: Path | None = None
    cases: str | None = None
    augment: bool = False
    regions: tuple[tuple[float, ...], ...] = ()
    maps: bool = True
    file_format: str = ".nii.gz"
    frame: int | None = None
    orientation: str = ""
    threads: int | None = None
    replace: bool = False


def rank(settings: RankSettings, reporter: Reporter | None = None) -> Ranking:
    """Judge every case, choose those to label next, write the maps and the report.

    Cases that cannot be read, or do not fit into memory, are told as warnings and left out.

    Raises:
        UserError: A model, an option or the data are not usable, a file in the folder was changed since it was written,
            or no case could be judged.
        Stopped: The user asked to stop; the maps written before stay, without a report.
    """
    reporter = reporter or Reporter()
    # Cases of labels alone, which training draws images from, say nothing of scans.
    listed = load_dataset(settings.labelled, True, settings.orientation).cases if settings.labelled else ()
    labelled = [case for case in listed if case.images]
    ensemble = Ensemble(settings.models, settings.augment, settings.threads, reporter)
    cases = find_unlabelled(
        settings.inputs, ensemble.channels, settings.cases, labelled, reporter, settings.orientation
    )
    check_folder(settings.output, cases)
    report_paths(settings.output)
    written = Written(settings.output)
    if settings.maps:
        maps = [map_paths(settings.output, case, settings.file_format) for case in cases]
        for case, (_, labels) in zip(cases, maps, strict=True):
            refuse_other_sources(case.images[0], labels, reporter)
        if not settings.replace:
            written.refuse_changed(path for pair in maps for path in pair)
    reporter.start("rank", models=list(ensemble.names), members=ensemble.members, cases=len(cases), device="cpu")
    if ensemble.no_features:
        reporter.warning(
            "no-features",
            f"{ensemble.no_features} Cases are told apart by their intensities and size instead of the encoder's "
            "features, so their diversity is judged less well.",
        )
    if ensemble.members == 1:
        reporter.info(
            "One model and one view of each scan: its own doubt is measured. --augment or several --model add "
            "disagreement."
        )
    known = _features_of_labelled(ensemble, labelled, settings, reporter)
    ranked, features, left_out = [], [], []
    for number, case in enumerate(cases):
        check_stop()
        reporter.progress("rank", number, len(cases))
        try:
            volume = read_images(case, settings.frame, reporter)
            ensemble.check_fit(volume, case.identifier, settings.regions, reporter)
            judged = ensemble.judge(volume, settings.regions)
        except Exception as fault:
            told = of_case(fault)
            reporter.warning(told.code, f"{case.identifier}: {told.message} This case is left out.")
            left_out.append(case.identifier)
            continue
        ranked.append(_describe(case, volume, judged, ensemble, settings, written))
        features.append(judged.features)
        reporter.metric("uncertainty", judged.doubt.uncertainty, case=case.identifier)
    reporter.progress("rank", len(cases), len(cases))
    if not ranked:
        raise UserError("None of the cases could be ranked.", "The warnings above say why.", "cases-failed")
    ranking = _ordered(ranked, np.stack(features), known, settings.count, ensemble, left_out)
    for case_ in ranking.cases:
        for code, message in case_.warnings:
            reporter.warning(code, f"{case_.name}: {message}")
    report = write_report(settings.output, ranking)
    reporter.info(f"Label next: {', '.join(case_.name for case_ in ranking.cases if case_.proposed)}")
    reporter.result(
        report=str(report.html),
        data=str(report.json),
        table=str(report.csv),
        proposed=[case_.name for case_ in ranking.cases if case_.proposed],
        cases=[case_.to_json(paths=True) for case_ in ranking.cases],
        left_out=left_out,
    )
    return ranking


def _features_of_labelled(
    ensemble: Ensemble, labelled: Sequence[Case], settings: RankSettings, reporter: Reporter
) -> NDArray[np.float32] | None:
    found = []
    for number, case in enumerate(labelled):
        check_stop()
        reporter.progress("labelled cases", number, len(labelled))
        try:
            volume = read_images(case, settings.frame, reporter)
            ensemble.check_fit(volume, case.identifier, settings.regions, reporter)
            found.append(ensemble.features(volume, settings.regions))
        except Exception as fault:
            told = of_case(fault)
            reporter.warning(told.code, f"{case.identifier}: {told.message} It is not compared with.")
    if labelled:
        reporter.progress("labelled cases", len(labelled), len(labelled))
    return np.stack(found) if found else None


def _describe(
    case: Case, volume: Volume, judged: Judged, ensemble: Ensemble, settings: RankSettings, written: Written
) -> RankedCase:
    ranked = RankedCase(case.identifier, case.images, judged.doubt, judged.volumes_ml)
    pictures = draw(volume, judged, ensemble.description)
    if settings.maps:
        uncertainty, labels = write_maps(
            settings.output, case, volume, judged, ensemble.description, settings.file_format
        )
        written.note(uncertainty, labels)
        return replace(ranked, uncertainty_map=uncertainty, segmentation=labels, pictures=pictures)
    return replace(ranked, pictures=pictures)


def _warnings(case: RankedCase, odd: str | None) -> tuple[tuple[str, str], ...]:
    found = [] if odd is None else [("out-of-domain", odd)]
    if not case.doubt.voxels:
        found.append(("nothing-found", "The model found none of its structures."))
    return tuple(found)


def _ordered(
    cases: Sequence[RankedCase],
    features: NDArray[np.float32],
    known: NDArray[np.float32] | None,
    count: int,
    ensemble: Ensemble,
    left_out: Sequence[str],
) -> Ranking:
    uncertainty = [case.doubt.uncertainty for case in cases]
    odd = odd_ones(uncertainty)
    chosen = propose(uncertainty, features, known, [code is not None for code in odd], count)
    rest = sorted(set(range(len(cases))) - set(chosen), key=lambda index: (-uncertainty[index], index))
    distances = nearest_distances(features, known)
    ordered = tuple(
        replace(
            cases[index],
            rank=place,
            proposed=index in chosen,
            distance=None if distances is None else distances[index],
            warnings=_warnings(cases[index], odd[index]),
        )
        for place, index in enumerate([*chosen, *rest], start=1)
    )
    return Ranking(
        ordered,
        ensemble.names,
        ensemble.members,
        0 if known is None else len(known),
        ensemble.feature_kind,
        tuple(left_out),
    )  # fmt: skip
