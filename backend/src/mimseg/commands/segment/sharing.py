"""Which cases this process segments: all of them, those that have no result yet, or its share among several ranks.

Under torchrun and SLURM every rank starts with its own stride of the list and then helps with what others have not
begun. A case is claimed by a lock of the operating system on a file in the output folder, which ends with the process
that holds it: a rank that dies blocks nothing. A result appears by renaming, so one that exists is complete, and no
case that has one is segmented again. Locks work across the nodes of a cluster as far as its file system shares them
(NFS 3 and 4, Lustre mounted with `flock`); where there are none, each rank keeps to its own stride.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

from mimseg.commands.locks import claim, claim_patiently
from mimseg.commands.segment.outputs import Job
from mimseg.computer.processor import usable_cores
from mimseg.data.writing import is_whole
from mimseg.errors import UserError
from mimseg.events import Reporter

CLAIMS_FOLDER = ".mimseg-claims"


@dataclass(frozen=True)
class Rank:
    """Place of this process among those that share the work.

    Attributes:
        number: From 0.
        count: Of all ranks.
        local: Number among the ranks of this computer.
        processors: Processor threads that this rank may use, or None for all.
    """

    number: int = 0
    count: int = 1
    local: int = 0
    processors: int | None = None


def rank_of_process(environment: Mapping[str, str] = os.environ) -> Rank:
    """The rank that torchrun or `srun` gave this process; the only one otherwise.

    In the shell of `sbatch` or `salloc`, SLURM says how many tasks were asked for, but no others run there: only what
    `srun` starts has a number of tasks in its step.
    """
    if "RANK" in environment and "WORLD_SIZE" in environment:
        local_count = _number(environment, "LOCAL_WORLD_SIZE", 1)
        processors = max(1, usable_cores() // max(1, local_count)) if local_count > 1 else None
        place = Rank(
            _number(environment, "RANK", 0),
            _number(environment, "WORLD_SIZE", 1),
            _number(environment, "LOCAL_RANK", 0),
            processors,
        )
    else:
        count = _number(environment, "SLURM_STEP_NUM_TASKS", 1)
        place = Rank(
            _number(environment, "SLURM_PROCID", 0),
            count,
            _number(environment, "SLURM_LOCALID", 0),
            _number(environment, "SLURM_CPUS_PER_TASK", 0) or None,
        )
    return place if 0 <= place.number < place.count and place.count > 1 else Rank()


class Shares:
    """Hands out the cases that this process is to segment.

    Args:
        jobs: All cases, the same on every rank.
        rank: Of this process.
        resume: Leave out what has a result already; several ranks always do.
        reporter: Is told what is left out.

    Attributes:
        keep: Cases that have their result are left as they are.
        finished_before: Those that had it when the run began.
    """

    def __init__(self, jobs: Sequence[Job], rank: Rank, resume: bool, reporter: Reporter) -> None:
        self._jobs, self._rank, self._reporter = jobs, rank, reporter
        self.keep = resume or rank.count > 1
        self._claims = ExitStack()
        self._held: dict[Job, ExitStack] = {}
        self.finished_before = [job for job in jobs if self.keep and _done(job)]
        damaged = [job.name for job in jobs if self.keep and job.output.is_file() and job not in self.finished_before]
        if damaged:
            reporter.info(
                f"{len(damaged)} results are empty, cut off or damaged and are made again: {', '.join(damaged[:5])}."
            )
        if self.finished_before:
            reporter.info(f"{len(self.finished_before)} of {len(jobs)} cases have results already, which stay.")

    def __enter__(self) -> Shares:
        return self

    def __exit__(self, *_: object) -> None:
        self._claims.close()

    def take(self) -> Iterator[Job]:
        """The cases to segment, each claimed when it is asked for."""
        order = _own_first(self._jobs, self._rank)
        if self._rank.count > 1 and not self._locks_work():
            self._reporter.warning(
                "no-locks",
                f"The file system of {self._jobs[0].output.parent} has no locks: rank {self._rank.number} segments "
                f"only every {self._rank.count}th case and does not help others.",
            )
            yield from (job for job in self._jobs[self._rank.number :: self._rank.count] if not _done(job))
            return
        for job in order:
            if self.keep and (job in self.finished_before or _done(job)):
                continue
            if self._rank.count == 1 or self._claim(job):
                yield job

    def finished(self, job: Job) -> None:
        """Give the claim back: the result is there. Claims of cases that failed are held to the end."""
        held = self._held.pop(job, None)
        if held is not None:
            held.close()

    def table_lock(self) -> AbstractContextManager[object]:
        """Held while this rank adds its rows to the table of all."""
        if self._rank.count == 1:
            return nullcontext()
        return claim_patiently(_claims_file(self._jobs[0].output, "table"))

    def _claim(self, job: Job) -> bool:
        held = ExitStack()
        if not held.enter_context(_claim_file(_claims_file(job.output, job.output.name))):
            held.close()
            return False
        if _done(job):  # Another rank wrote it between the look before and the claim.
            held.close()
            return False
        self._held[job] = self._claims.enter_context(held)
        return True

    def _locks_work(self) -> bool:
        """True if a lock that nobody else can hold is given."""
        probe = _claims_file(self._jobs[0].output, f"probe-{self._rank.number}-{os.getpid()}")
        with _claim_file(probe) as mine:
            pass
        probe.unlink(missing_ok=True)
        return mine


def _done(job: Job) -> bool:
    """True if the case has its result; what a full disk or a killed run left, empty or cut off, is none."""
    return job.output.is_file() and is_whole(job.output)


def _claims_file(output: Path, name: str) -> Path:
    """The lock file `name` for results beside `output`."""
    return output.parent / CLAIMS_FOLDER / f"{name}.lock"


def _claim_file(path: Path) -> AbstractContextManager[bool]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise UserError(
            f"The folder {path.parent} cannot be made ({fault.strerror}).", "Choose another output.", "cannot-write"
        ) from fault
    return claim(path)


def _own_first(jobs: Sequence[Job], rank: Rank) -> list[Job]:
    """Own stride from its beginning, then those of the others from their ends, which they reach last."""
    order = list(jobs[rank.number :: rank.count])
    for distance in range(1, rank.count):
        order += reversed(jobs[(rank.number + distance) % rank.count :: rank.count])
    return order


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(environment.get(name, default))
    except ValueError:
        return default
