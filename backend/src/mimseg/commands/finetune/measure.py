"""After a training: the overlap of windows and the coarser spacing that the new model tolerates."""

from __future__ import annotations

from mimseg.bundle.reader import Bundle, open_bundle
from mimseg.commands.finetune.data import LabelledData
from mimseg.commands.finetune.settings import FinetuneSettings
from mimseg.commands.measure.run import MeasurementData, measure_model
from mimseg.data.cases import load_dataset
from mimseg.errors import MimsegError
from mimseg.events import Reporter

# Of the minutes of the training; and for a user who ends a training to have the model now.
_SHARE_OF_TIME = 0.1
_SECONDS_AT_FINISH = 120.0


def measure_new_model(bundle: Bundle, settings: FinetuneSettings, data: LabelledData, reporter: Reporter) -> None:
    """Measure the model that was just written on the validation cases; without any, the overlap on training cases.

    The model is complete without: what fails here, a stop included, is told as a warning.
    """
    if settings.keep_overlap and not data.validation:
        return
    try:
        what = _measurement_data(settings, data)
        if what.cases:
            measure_model(bundle, what, reporter, "cpu" if settings.device == "cpu" else "auto")
    except (MimsegError, OSError, RuntimeError) as fault:
        open_bundle(bundle.path)  # raises if the model were not complete
        reporter.warning(
            "not-measured",
            f"The model is complete, but its overlap and quick mode were not measured ({fault}). `mimseg measure` "
            "does that later.",
        )


def _measurement_data(settings: FinetuneSettings, data: LabelledData) -> MeasurementData:
    names = {case.identifier for case in data.validation or data.training}
    seconds = None if settings.budget.minutes is None else settings.budget.minutes * 60 * _SHARE_OF_TIME
    return MeasurementData(
        # There is no file of a drawn image that the finished model could be run on.
        cases=[
            case
            for case in load_dataset(settings.data, True, settings.orientation).cases
            if case.identifier in names and case.images
        ],
        with_truth=bool(data.validation),
        scheme=data.scheme,
        overlap=settings.overlap if settings.keep_overlap else None,
        seconds=_SECONDS_AT_FINISH if settings.finish else seconds,
    )
