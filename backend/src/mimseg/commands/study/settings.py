"""The choices of `mimseg study`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mimseg.errors import UserError
from mimseg.studies.design import Design, given_starts


@dataclass(frozen=True)
class StudySettings:
    """Choices of `mimseg study`.

    Attributes:
        design: What is compared, and what is kept equal.
        data: A labelled data set, see `mimseg.data.cases.load_dataset`.
        report: Folder of the report and of `plan.json`.
        runs: Folder of the runs; studies may share it, also at the same time. None for `report/runs`.
        minutes: For the whole study on this computer, turned into steps once; or None if steps are given.
        pretrain_steps: Of each pre-training, or None to find them from the minutes.
        steps: Of each fine-tuning, likewise.
        pool: Selection of the cases to learn from, None for all that do not validate.
        validation: Selection of the cases to validate on, None for every fifth subject.
        labels: JSON file with the structures, None for what the data set says.
        device: `auto`, `cpu`, `cuda`, `mps`.
        command: The command for the report, without names and paths.
        report_only: Train nothing, write the report of what is there.
        initial: Weights to start from as well: folder of a pre-training run, a model, or None for none.
        network_asked: The user named the network: given weights of another network are refused.
    """

    design: Design
    data: Path
    report: Path
    runs: Path | None = None
    minutes: float | None = None
    pretrain_steps: int | None = None
    steps: int | None = None
    pool: str | None = None
    validation: str | None = None
    labels: Path | None = None
    device: str = "auto"
    command: str = ""
    report_only: bool = False
    initial: str | None = None
    network_asked: bool = False

    def __post_init__(self) -> None:
        if self.minutes is None and None in (self.steps, self.pretrain_steps) and not self.report_only:
            raise UserError(
                "The study has no budget.", "Give --minutes, or both --steps and --pretrain-steps.", code="usage"
            )
        if min(self.minutes or 1, self.steps or 1, self.pretrain_steps or 1) <= 0:
            raise UserError("--minutes and steps must be larger than 0.", "For example --minutes 120.", code="usage")
        if self.steps is not None and self.steps < self.design.validations:
            raise UserError(
                f"--steps {self.steps} leaves no room for {self.design.validations} validations.",
                "Give more steps, or fewer --validations.",
                code="usage",
            )
        self._check_given()

    def _check_given(self) -> None:
        named = self.design.claim == "convergence" and not set(given_starts()).isdisjoint(self.design.methods)
        if self.initial is None and named and not self.report_only:
            raise UserError(
                "Starts from given weights need such weights.", "Give them with --init, or other --methods.", "usage"
            )
        if self.initial is not None and not named and self.design.claim != "labels":
            raise UserError(
                f"This study ({self.design.claim}) has no row that starts from the weights of --init.",
                f"Choose labels, or convergence with some of --methods {','.join(given_starts())}.",
                code="usage",
            )

    @property
    def plan_path(self) -> Path:
        """Where the plan lies."""
        return self.report / "plan.json"

    @property
    def runs_path(self) -> Path:
        """Where the runs lie."""
        return self.runs or self.report / "runs"
