"""Segmenting scans with a model: one model load for any number of scans, alone or among several ranks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg.bundle.locations import find_bundle
from mimseg.bundle.reader import Bundle, open_bundle
from mimseg.commands.segment.cases import read_case, write_case
from mimseg.commands.segment.chosen import label_values, note_for, volumes_of
from mimseg.commands.segment.finder import Finder
from mimseg.commands.segment.fit import check_fit
from mimseg.commands.segment.outputs import Job, expand_folders, plan_jobs, try_outputs
from mimseg.commands.segment.overlap import LockedReporter, Stages, overlapped
from mimseg.commands.segment.settings import SegmentResult, SegmentSettings
from mimseg.commands.segment.shared_table import Measured, add_to_table, measure_finished, tell_others
from mimseg.commands.segment.sharing import Rank, Shares, rank_of_process
from mimseg.commands.segment.volume_table import check_table, write_table
from mimseg.commands.written import Written
from mimseg.data.labels.drawn import Algorithm, Overlapping
from mimseg.data.labels.structures import Label
from mimseg.data.regions import Box, box_from_ras
from mimseg.data.volume import Volume
from mimseg.errors import OutOfMemory, UserError, of_case
from mimseg.events import Reporter
from mimseg.inference.engines import Engine, open_engine
from mimseg.inference.known_volumes import refuse_nothing_known
from mimseg.inference.locating import segment_located
from mimseg.inference.pipeline import segment_volume


def segment(settings: SegmentSettings, reporter: Reporter | None = None) -> list[SegmentResult]:
    """Segment all inputs, or this rank's share of them.

    With several cases, an unusable one is told as a warning and the others go on; the run fails at its end. Where the
    labels of one cannot be written, it ends there.

    Returns:
        The results of this process; cases that were left out (`resume`, other ranks) are not among them.

    Raises:
        UserError: The model, an option or an input is not usable, or a result was changed since it was written.
        OutOfMemory: Memory ran out even on the CPU.
        Stopped: The user asked to stop; results written before stay.
    """
    reporter = LockedReporter(reporter or Reporter())
    began = time.perf_counter()
    bundle = open_bundle(find_bundle(settings.model))
    if settings.quick:
        words = bundle.description.quick_in_words()
        bundle = replace(bundle, description=bundle.description.in_quick_mode())
        reporter.info(f"Quick: {words}.")
    channels = len(bundle.description.channels)
    inputs = expand_folders(settings.inputs, channels, reporter)
    jobs = plan_jobs(
        inputs, channels, settings.output, settings.file_format, settings.preview, settings.frame, reporter
    )
    check_table(settings.table)
    finder = Finder(bundle.description, not settings.regions, settings.labels, reporter)
    rank = rank_of_process()
    written = Written(jobs[0].output.parent, rank.number)
    with Shares(jobs, rank, settings.resume, reporter) as shares:
        if not (shares.keep or settings.replace):
            written.refuse_changed(job.output for job in jobs)
        try_outputs([job for job in jobs if job not in shares.finished_before], settings.table)
        run = _Run(settings, bundle, finder, rank, len(jobs), shares, written, reporter)
        if rank.number == 0:
            tell_others(shares.finished_before, finder.choices, run.algorithm, reporter)
        stages = Stages(run.announce, run.read, run.compute, run.write, run.failed)
        results = dict(overlapped(shares.take(), stages, reporter, run.open))
        if run.begun == 0:
            reporter.start("segment", model=bundle.description.name, version=bundle.description.version)
        if settings.table is not None:
            _write_table(run, settings.table, jobs, results)
    if run.failures:
        others = "the other results are written" if results or run.shares.finished_before else "no result is written"
        raise UserError(
            f"{len(run.failures)} of {len(jobs)} cases could not be segmented: {', '.join(run.failures[:5])}.",
            f"The warnings above say why; {others}.",
            code="cases-failed",
        )
    reporter.result(
        outputs=[result.to_json() for result in results.values()],
        table=None if settings.table is None else str(settings.table),
        seconds=round(time.perf_counter() - began, 3),
    )
    return list(results.values())


def _write_table(run: _Run, path: Path, jobs: Sequence[Job], results: Mapping[Job, SegmentResult]) -> None:
    if run.rank.count == 1 and not run.settings.resume:
        write_table(path, [(job.row, result.volumes) for job, result in results.items()])
        return
    finished_before = run.shares.finished_before if run.rank.number == 0 else []
    found = measure_finished(finished_before, run.finder.kept, run.algorithm)
    found |= {job: Measured(result.volumes) for job, result in results.items()}
    with run.shares.table_lock():
        add_to_table(path, jobs, found, run.reporter)


@dataclass
class _Computed:
    """Labels on their way to a file."""

    volume: Volume
    labels: NDArray[np.integer]
    kept: tuple[Label, ...]
    began: float
    overlapping: Overlapping | None = None


@dataclass
class _Run:
    """One loaded model at work; the engine may change when a GPU's memory does not suffice."""

    settings: SegmentSettings
    bundle: Bundle
    finder: Finder
    rank: Rank
    cases: int
    shares: Shares
    written: Written
    reporter: Reporter
    failures: list[str] = field(default_factory=list)
    begun: int = 0
    finished: int = 0
    _engine: Engine | None = None

    @property
    def algorithm(self) -> Algorithm:
        """What draws the labels."""
        return Algorithm(self.bundle.description.name, self.bundle.description.version, self.settings.way)

    def open(self) -> None:
        """Load the network; the first case is being read meanwhile."""
        description = self.bundle.description
        engine = self._open(self.bundle, self.settings.device, self.settings.engine)
        self._engine = engine
        self.reporter.start(
            "segment", model=description.name, version=description.version, engine=engine.name, device=engine.device
        )

    def announce(self, job: Job) -> None:
        """Tell whose turn it is."""
        self.begun += 1
        if self.cases > 1:
            number = self.begun + len(self.shares.finished_before)
            self.reporter.info(f"Case {number} of {self.cases}: {job.name}")

    def read(self, job: Job, reporter: Reporter) -> Volume:
        """Read a case; called in a thread."""
        return read_case(job, reporter, self.settings.orientation)

    def compute(self, job: Job, volume: Volume) -> _Computed:
        """Labels of a case."""
        began = time.perf_counter()
        regions = [box_from_ras(bounds, volume.grid) for bounds in self.settings.regions]
        description = self.bundle.description
        located = self.finder.runs_on(volume.grid)
        check_fit(volume, str(job.inputs[0]), description, bool(regions) or located, self.reporter)
        structures = self.finder.labels(volume.grid)
        overlapping = note_for(description, structures, volume.grid)
        classes = self._classes(volume, regions, None if overlapping is None else overlapping.bits)
        if not regions and not located:
            refuse_nothing_known(classes, description, volume.grid, str(job.inputs[0]))
        kept = self.finder.kept(volume.grid)
        labels = label_values(classes, structures, kept, overlapping)
        if not labels.any():
            self.reporter.warning(
                "nothing-found",
                f"{description.name} finds none of its structures in {job.inputs[0]}: the result is empty. Check that "
                "the scan shows that part of the body.",
            )
        return _Computed(volume, labels, kept, began, overlapping)

    def write(self, job: Job, computed: _Computed) -> tuple[Job, SegmentResult]:
        """Write a case; called in a thread."""
        grid, labels = computed.volume.grid, computed.labels
        overlapping = computed.overlapping
        shown = self.bundle.description.preprocessing.intensity.shown
        picture = write_case(
            job, computed.volume, labels, computed.kept, self.algorithm, shown, self.reporter, overlapping
        )
        self.written.note(job.output)
        self.shares.finished(job)
        self.finished += 1
        volumes = tuple(volumes_of(labels, overlapping, grid, computed.kept))
        name = f"{job.name}, " if self.cases > 1 else ""
        lines = [f"{name}{row.label}: {row.ml:.2f} mL" for row in volumes]
        self.reporter.info("\n".join([*lines, f"Written: {job.output}"]))
        seconds = time.perf_counter() - computed.began
        return job, SegmentResult(job.inputs, job.output, volumes, picture, seconds)

    def failed(self, job: Job, fault: Exception) -> None:
        """Note a case that is left out; a single one's fault is raised, and one of writing, which all others share."""
        if self.cases == 1:
            raise fault
        if isinstance(fault, UserError) and fault.code == "cannot-write":
            self.reporter.info(
                f"{self.finished} of {self.cases} cases were segmented before; --resume goes on from there."
            )
            raise fault
        self.failures.append(job.name)
        told = of_case(fault)
        self.reporter.warning(told.code, f"{job.name}: {told} This case is left out.")

    def _open(self, bundle: Bundle, device: str, engine: str) -> Engine:
        threads = self.settings.threads or self.rank.processors
        return open_engine(bundle, device, engine, threads, self.reporter, self.settings.precision, self.rank.local)

    def _classes(self, volume: Volume, regions: Sequence[Box], bits: NDArray[np.uint8] | None) -> NDArray[np.integer]:
        try:
            return self._computed(volume, regions, bits, self.settings.device, self.settings.engine)
        except OutOfMemory as fault:
            if fault.code != "gpu-out-of-memory":
                raise
            self.reporter.warning("gpu-out-of-memory", f"{fault.message} The CPU is used instead.")
            self._engine = None
            self.finder.forget_engine()
            if bits is not None:
                bits[...] = 0
            return self._computed(volume, regions, bits, "cpu", "auto")

    def _computed(
        self, volume: Volume, regions: Sequence[Box], bits: NDArray[np.uint8] | None, device: str, engine: str
    ) -> NDArray[np.integer]:
        description, overlap = self.bundle.description, self.settings.overlap
        located = self.finder.boxes(volume, lambda bundle: self._open(bundle, device, engine))
        if self._engine is None:
            self._engine = self._open(self.bundle, device, engine)
        if located:
            return segment_located(volume, description, self._engine, located, overlap, self.reporter, bits)
        return segment_volume(volume, description, self._engine, regions, overlap, self.reporter, bits=bits)
