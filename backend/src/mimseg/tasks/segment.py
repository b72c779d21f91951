"""Segmenting scans with a model: read, predict, write; one model load for any number of scans."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimseg import stopping
from mimseg.bundle.description import Description
from mimseg.bundle.locations import find_bundle
from mimseg.bundle.reader import Bundle, open_bundle
from mimseg.data.labelmaps import write_labelmap
from mimseg.data.labels import Label
from mimseg.data.regions import Box, box_from_ras
from mimseg.data.volume import Volume
from mimseg.data.volumes import read_channels, read_volume
from mimseg.errors import OutOfMemory, UserError
from mimseg.events import Reporter
from mimseg.inference.engine import Engine, open_engine
from mimseg.inference.pipeline import segment_volume
from mimseg.inference.png import write_png
from mimseg.inference.preview import draw_preview
from mimseg.memory import memory_errors_named
from mimseg.tasks.segment_outputs import Job, plan_jobs
from mimseg.tasks.volume_table import StructureVolume, check_table, measure, write_table

# A scan this many times longer than those a model was trained on shows anatomy that the model never saw.
_TOO_LARGE = 1.75


@dataclass(frozen=True)
class SegmentSettings:
    """What to segment, with what, and where to.

    Attributes:
        inputs: Volumes or DICOM folders; with a model of several channels, the channels of each case in turn.
        model: Name or path of the model.
        output: A file for one case, or a folder.
        device: `auto`, `cpu`, `cuda`, `mps`.
        engine: `auto`, `openvino`, `torch`.
        labels: Names of the structures to keep; empty keeps all.
        regions: Boxes x0, x1, y0, y1, z0, z1 in mm, RAS; empty takes the whole volume.
        file_format: Ending of the files written to an output folder.
        table: CSV of volumes to write, or None.
        preview: PNG picture to write, or None.
        frame: Which volume of a 4D file, from 0, or None.
        overlap: Share of a window that its neighbour covers too; None takes the model's.
        threads: Processor threads; None takes one for each physical core.
    """

    inputs: tuple[Path, ...]
    model: str
    output: Path
    device: str = "auto"
    engine: str = "auto"
    labels: tuple[str, ...] = ()
    regions: tuple[tuple[float, ...], ...] = ()
    file_format: str = ".nii.gz"
    table: Path | None = None
    preview: Path | None = None
    frame: int | None = None
    overlap: float | None = None
    threads: int | None = None


@dataclass(frozen=True)
class SegmentResult:
    """What came out for one case.

    Attributes:
        inputs: What was read.
        output: The labelmap or segmentation written.
        volumes: Volume of each structure that was asked for.
        preview: The picture written, or None.
        seconds: Time from reading to writing.
    """

    inputs: tuple[Path, ...]
    output: Path
    volumes: tuple[StructureVolume, ...]
    preview: Path | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary for the result event."""
        return {
            "inputs": [str(path) for path in self.inputs],
            "output": str(self.output),
            "preview": None if self.preview is None else str(self.preview),
            "seconds": round(self.seconds, 3),
            "volumes": [
                {"label": v.label, "value": v.value, "voxels": v.voxels, "ml": round(v.ml, 4)} for v in self.volumes
            ],
        }


def segment(settings: SegmentSettings, reporter: Reporter | None = None) -> list[SegmentResult]:
    """Segment all inputs.

    With several cases, an unusable one is told as a warning and the others go on; the run fails at its end.

    Raises:
        UserError: The model, an option or an input is not usable.
        OutOfMemory: Memory ran out even on the CPU.
        Stopped: The user asked to stop; results written before stay.
    """
    reporter = reporter or Reporter()
    began = time.perf_counter()
    bundle = open_bundle(find_bundle(settings.model))
    description = bundle.description
    jobs = plan_jobs(
        settings.inputs, len(description.channels), settings.output, settings.file_format, settings.preview
    )
    check_table(settings.table)
    kept = choose_labels(description, settings.labels)
    engine = open_engine(bundle, settings.device, settings.engine, settings.threads, reporter)
    reporter.start(
        "segment", model=description.name, version=description.version, engine=engine.name, device=engine.device
    )
    run = _Run(settings, bundle, engine, kept, reporter)
    results, failures = run.cases(jobs)
    if settings.table is not None:
        write_table(settings.table, [(str(result.inputs[0]), result.volumes) for result in results])
    if failures:
        raise UserError(
            f"{len(failures)} of {len(jobs)} cases could not be segmented: {', '.join(failures[:5])}.",
            "The warnings above say why; the other results are written.",
            code="cases-failed",
        )
    reporter.result(
        outputs=[result.to_json() for result in results],
        table=None if settings.table is None else str(settings.table),
        seconds=round(time.perf_counter() - began, 3),
    )
    return results


def choose_labels(description: Description, names: Sequence[str]) -> tuple[Label, ...]:
    """The model's structures of these names, whatever their case; all of them if `names` is empty.

    Raises:
        UserError: The model has no such structure.
    """
    if not names:
        return description.labels
    by_name = {label.name.casefold(): label for label in description.labels}
    unknown = [name for name in names if name.strip().casefold() not in by_name]
    if unknown:
        raise UserError(
            f"The model {description.name} has no structure {', '.join(repr(name) for name in unknown)}.",
            f"It has: {', '.join(label.name for label in description.labels)}.",
            code="unknown-label",
        )
    wanted = {by_name[name.strip().casefold()].value for name in names}
    return tuple(label for label in description.labels if label.value in wanted)


@dataclass
class _Run:
    """One loaded model at work; the engine may change when a GPU's memory does not suffice."""

    settings: SegmentSettings
    bundle: Bundle
    engine: Engine
    kept: tuple[Label, ...]
    reporter: Reporter

    def cases(self, jobs: Sequence[Job]) -> tuple[list[SegmentResult], list[str]]:
        """Results of the cases, and the names of those that were not usable; a single one's fault is raised."""
        results, failures = [], []
        for number, job in enumerate(jobs, start=1):
            stopping.check()
            if len(jobs) > 1:
                self.reporter.info(f"Case {number} of {len(jobs)}: {job.name}")
            try:
                results.append(self.case(job))
            except UserError as fault:
                if len(jobs) == 1:
                    raise
                failures.append(job.name)
                self.reporter.warning(fault.code, f"{fault} This case is left out.")
        return results, failures

    def case(self, job: Job) -> SegmentResult:
        """Read, segment and write one case."""
        began = time.perf_counter()
        volume = self._read(job)
        regions = [box_from_ras(bounds, volume.grid) for bounds in self.settings.regions]
        _warn_of_misfit(volume, job, self.bundle.description, bool(regions), self.reporter)
        classes = self._classes(volume, regions)
        labels = _label_values(classes, self.bundle.description.labels, self.kept)
        self._write(job, volume, labels)
        volumes = tuple(measure(labels, volume.grid, self.kept))
        for row in volumes:
            self.reporter.info(f"{row.label}: {row.ml:.2f} mL")
        self.reporter.info(f"Written: {job.output}")
        return SegmentResult(job.inputs, job.output, volumes, job.preview, time.perf_counter() - began)

    def _read(self, job: Job) -> Volume:
        self.reporter.progress("read", 0, 1)
        with memory_errors_named(f"read {job.inputs[0]}"):
            if len(job.inputs) == 1:
                volume = read_volume(job.inputs[0], self.settings.frame, self.reporter)
            else:
                volume = read_channels(job.inputs, self.settings.frame, self.reporter)
        self.reporter.progress("read", 1, 1)
        return volume

    def _classes(self, volume: Volume, regions: Sequence[Box]) -> NDArray[np.integer]:
        description, overlap = self.bundle.description, self.settings.overlap
        try:
            return segment_volume(volume, description, self.engine, regions, overlap, self.reporter)
        except OutOfMemory as fault:
            if fault.code != "gpu-out-of-memory":
                raise
            self.reporter.warning("gpu-out-of-memory", f"{fault.message} The CPU is used instead.")
            self.engine = open_engine(self.bundle, "cpu", "auto", self.settings.threads, self.reporter)
            return segment_volume(volume, description, self.engine, regions, overlap, self.reporter)

    def _write(self, job: Job, volume: Volume, labels: NDArray[np.integer]) -> None:
        stopping.check()
        self.reporter.progress("write", 0, 1)
        try:
            job.output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise UserError(
                f"The folder {job.output.parent} cannot be made ({fault.strerror}).", "Choose another.", "cannot-write"
            ) from fault
        with memory_errors_named(f"write {job.output}"):
            write_labelmap(job.output, labels, volume.grid, self.kept)
            if job.preview is not None:
                image = volume.array if volume.array.ndim == 3 else volume.array[0]
                intensity = self.bundle.description.preprocessing.intensity
                shown = None if intensity.kind == "zscore" else (intensity.lower, intensity.upper)
                write_png(job.preview, draw_preview(image, labels, volume.grid, self.kept, shown))
        self.reporter.progress("write", 1, 1)


def _label_values(classes: NDArray[np.integer], labels: Sequence[Label], kept: Sequence[Label]) -> NDArray[np.integer]:
    values = np.zeros(len(labels) + 1, np.uint16 if max(label.value for label in labels) > 255 else np.uint8)
    for index, label in enumerate(labels, start=1):
        if label in kept:
            values[index] = label.value
    return values[classes]


def _warn_of_misfit(volume: Volume, job: Job, description: Description, has_region: bool, reporter: Reporter) -> None:
    """Tell the user when the scan is hardly what the model was trained on."""
    extent = sorted(n * s for n, s in zip(volume.grid.size, volume.grid.spacing, strict=True))
    usual = description.field_of_view_mm
    if (
        usual is not None
        and not has_region
        and any(have > _TOO_LARGE * trained for have, trained in zip(extent, sorted(usual), strict=True))
    ):
        reporter.warning(
            "field-of-view",
            f"{job.inputs[0]} spans {_millimetres(extent)}, but {description.name} was trained on volumes of "
            f"{_millimetres(sorted(usual))}: expect false structures. Give the part to segment with --roi.",
        )
    lowest = float(volume.array.min())
    if description.modality == "CT" and lowest >= 0:
        reporter.warning(
            "modality",
            f"{job.inputs[0]} has no negative value, but {description.name} wants CT in Hounsfield units, where air "
            "is about -1000.",
        )
    if description.modality == "MR" and lowest <= -900:
        reporter.warning(
            "modality", f"{job.inputs[0]} looks like CT (lowest value {lowest:.0f}); {description.name} wants MR."
        )


def _millimetres(extent: Sequence[float]) -> str:
    return " x ".join(f"{length:.0f}" for length in extent) + " mm"
