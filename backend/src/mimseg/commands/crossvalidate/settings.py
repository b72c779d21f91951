"""The choices of `mimseg finetune --folds`, and the trainings that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

from mimseg.commands.finetune.settings import FinetuneSettings
from mimseg.commands.pretrain.settings import PretrainSettings
from mimseg.training.budget import Budget

# What a fold is trained from; the first one makes the model.
START, SCRATCH, WITHOUT_OWN = "start", "scratch", "without-own"


@dataclass(frozen=True)
class CrossvalidationSettings:
    """Choices of `mimseg finetune --folds`.

    Attributes:
        finetune: Of the model; its budget is that of everything together, its `validation` is not used.
        folds: Number of folds; 0 lets the number of subjects decide.
        compare: Train the same folds from scratch too, and, after a pre-training of one's own, without that.
        own_pretraining: Pre-train first, on one's own volumes, from `finetune.initial`; its output is not used.
    """

    finetune: FinetuneSettings
    folds: int = 0
    compare: bool = False
    own_pretraining: PretrainSettings | None = None

    @property
    def arms(self) -> tuple[str, ...]:
        """What every fold is trained from."""
        base, own = self.finetune.initial is not None, self.own_pretraining is not None
        without = (WITHOUT_OWN,) if self.compare and own and base else ()
        scratch = (SCRATCH,) if self.compare and (own or base) else ()
        return START, *without, *scratch

    def budget_of(self, runs: int) -> Budget:
        """That of one of `runs` trainings: minutes are shared, steps are meant for each."""
        budget = self.finetune.budget
        return budget if budget.steps else Budget(minutes=(budget.minutes or 0) / runs)

    def parts(self, folds_and_arms: int) -> list[float]:
        """Expected lengths of the pre-training, if there is one, of every fold and arm, and of the model's training.

        In minutes where all are given in minutes, else in steps, which are not equally long.
        """
        runs = folds_and_arms + 1
        own = self.own_pretraining.budget if self.own_pretraining else None
        each = self.budget_of(runs)
        timed = each.minutes is not None and (own is None or own.minutes is not None)
        length = [each.minutes or 0.0 if timed else float(each.steps or 1)] * runs
        return length if own is None else [own.minutes or 0.0 if timed else float(own.steps or 1), *length]
