"""Carry out the runs of a study, one after the other, beside other processes that do the same."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mimseg.commands.finetune.data import LabelledData, scheme_of
from mimseg.commands.finetune.run import train
from mimseg.commands.finetune.settings import FinetuneSettings
from mimseg.commands.locks import WAIT_SECONDS, claim
from mimseg.commands.pretrain.run import pretrain
from mimseg.commands.pretrain.settings import PretrainSettings
from mimseg.commands.study.given import preprocessing_of
from mimseg.commands.study.machine import describe_machine
from mimseg.commands.study.settings import StudySettings
from mimseg.data.cases import Case, load_dataset, pick_cases
from mimseg.data.labels.scheme import LabelScheme
from mimseg.data.preprocessing import Preprocessing
from mimseg.events import InnerReporter, Reporter
from mimseg.networks.settings import NetworkSettings
from mimseg.stopping import check
from mimseg.studies.design import GIVEN
from mimseg.studies.plan import PRETRAINING, Plan, Run
from mimseg.studies.results import SCORES, SCORES_FORMAT, Unusable, read_run
from mimseg.training.augmentation import AugmentationSettings
from mimseg.training.budget import Budget
from mimseg.training.crops.cache import TrainingCase, load_training_case
from mimseg.training.optimiser.schedule import Schedule
from mimseg.training.run_folder import can_resume, clear_run, write_json
from mimseg.training.validation import score_cases


class Runner:
    """Trains what a plan asks for.

    Args:
        plan: The plan.
        plan_path: Where it is stored; its lists of cases are read from there.
        runs: Folder of the runs.
        settings: Where the data are, and the device.
        reporter: Progress.
    """

    def __init__(self, plan: Plan, plan_path: Path, runs: Path, settings: StudySettings, reporter: Reporter) -> None:
        self._plan, self._plan_path, self._runs = plan, plan_path, runs
        self._settings, self._reporter = settings, reporter
        self._dataset = load_dataset(settings.data)
        self._cases = _CaseStore(reporter)

    def carry_out(self) -> None:
        """Train until every run is finished, by this process or another one.

        Raises:
            Stopped: The user stopped; the run goes on where it was when the study is started again.
        """
        waiting = {run.name: run for run in self._plan.runs}
        total = len(waiting)
        while True:
            waiting = {name: run for name, run in waiting.items() if not self._finished(run)}
            self._reporter.progress("study", total - len(waiting), total)
            if not waiting:
                return
            ready = [run for run in waiting.values() if run.initial not in waiting]
            if not any(self._claim_and_train(run) for run in ready):
                _pause()  # others work on all that is left

    def train(self, run: Run) -> None:
        """Train one run, go on with it, or begin a damaged one again; `scores.json` marks it as finished."""
        folder = run.folder(self._runs)
        resume = can_resume(folder)
        if not resume:
            clear_run(folder)
        content = self._pretrain(run, resume) if run.kind == PRETRAINING else self._finetune(run, resume)
        cost = json.loads((folder / "cost.json").read_text(encoding="utf-8"))
        machine = describe_machine(self._settings.device)
        write_json(
            folder / SCORES, {"format": SCORES_FORMAT, "run": run.name, "machine": machine, "cost": cost, **content}
        )
        (folder / "checkpoint.pt").unlink(missing_ok=True)

    def _claim_and_train(self, run: Run) -> bool:
        check()
        with claim(self._runs / "locks" / f"{run.name}.lock") as mine:
            if mine and not self._finished(run):
                self.train(run)
            return mine

    def _finished(self, run: Run) -> bool:
        try:
            read_run(run, run.folder(self._runs), len(self._plan.subjects))
        except Unusable:
            return False
        return True

    def _pretrain(self, run: Run, resume: bool) -> dict[str, Any]:
        values = run.settings
        settings = PretrainSettings(
            data=(self._settings.data,),
            output=run.folder(self._runs),
            network=_network(values),
            method=values["method"],
            method_settings=values["method_settings"],
            cases=f"{self._plan_path}:cases.{run.cases}",
            initial=self._given(values),
            preprocessing=preprocessing_of(values),
            **self._shared(values),
            resume=resume,
        )
        folder = pretrain(settings, InnerReporter(self._reporter))
        provenance = json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))["provenance"]
        return {"steps": provenance["steps"], "seconds": provenance["seconds"]}

    def _finetune(self, run: Run, resume: bool) -> dict[str, Any]:
        values = run.settings
        settings = FinetuneSettings(
            data=self._settings.data,
            output=self._runs / run.name,
            initial=str(self._runs / run.initial) if run.initial else self._given(values),
            network=_network(values),
            labels=self._settings.labels,
            layer_decay=values["layer_decay"],
            overlap=values["overlap"],
            validations=values["validations"],
            **self._shared(values),
            resume=resume,
        )
        trained = train(settings, InnerReporter(self._reporter), self._labelled_data(run, settings))
        if trained is None:
            raise RuntimeError("a study runs in one process")
        scores = score_cases(
            trained.network, trained.data.validation, trained.data.labels, trained.shape, settings.overlap,
            self._reporter,
        )  # fmt: skip
        return {**{key: trained.record["finetuning"][key] for key in ("steps", "seconds")}, **scores}

    def _given(self, values: dict[str, Any]) -> str | None:
        return self._settings.initial if GIVEN in values else None

    def _shared(self, values: dict[str, Any]) -> dict[str, Any]:
        x, y, z = values["window"]
        schedule = {**values["schedule"], "betas": tuple(values["schedule"]["betas"])}
        return {
            "budget": Budget(steps=values["steps"]),
            "window": (x, y, z),
            "spacing": tuple(values["spacing"]),
            "modality": values["modality"],
            "batch": values["batch"],
            "schedule": Schedule(**schedule),
            "augmentation": AugmentationSettings(**values["augmentation"]),
            "seed": values["seed"],
            "device": self._settings.device,
            "precision": values["precision"],
        }

    def _labelled_data(self, run: Run, settings: FinetuneSettings) -> LabelledData:
        """Cases of a fine-tuning; those at hand from the run before are not read again."""
        preprocessing = preprocessing_of(run.settings)
        lists = [pick_cases(self._dataset.cases, f"{self._plan_path}:cases.{key}") for key in (run.cases, "validation")]
        scheme = scheme_of(self._dataset, [case for cases in lists for case in cases], settings, self._reporter)
        training, validation = self._cases.load(preprocessing, scheme, lists)
        return LabelledData(scheme, run.settings["modality"], preprocessing, training, validation)


class _CaseStore:
    """Prepared cases of one preprocessing; of the next one when that changes."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._kind: tuple[Preprocessing, LabelScheme] | None = None
        self._cases: dict[str, TrainingCase] = {}

    def load(
        self,
        preprocessing: Preprocessing,
        scheme: LabelScheme,
        lists: Sequence[Sequence[Case]],
    ) -> list[list[TrainingCase]]:
        """The cases of each list; the last list is the one to validate on."""
        # Which segments overlap depends on the cases, and their classes on that.
        if (preprocessing, scheme) != self._kind:
            self._kind, self._cases = (preprocessing, scheme), {}
        wanted = [case for cases in lists for case in cases]
        scored = {case.identifier for case in lists[-1]}
        for number, case in enumerate(wanted):
            if case.identifier not in self._cases:
                check()
                self._reporter.progress("read cases", number, len(wanted))
                keep = case.identifier in scored
                self._cases[case.identifier] = load_training_case(case, preprocessing, scheme, keep, self._reporter)
        return [[self._cases[case.identifier] for case in cases] for cases in lists]


def _network(values: dict[str, Any]) -> NetworkSettings:
    return NetworkSettings.from_json({**values["network"], "window": values["window"]})


def _pause() -> None:
    check()
    time.sleep(WAIT_SECONDS)
