"""Successive cases overlap in one process: the next one is read and the last one written while one is computed.

Reading and writing are mostly decompression and compression, which SimpleITK does without Python's lock. At most one
case is read ahead and at most one waits to be written, so that memory holds three volumes but never more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mimseg import stopping
from mimseg.errors import OutOfMemory, Stopped
from mimseg.events import Reporter

Item = TypeVar("Item")
Input = TypeVar("Input")
Computed = TypeVar("Computed")
Output = TypeVar("Output")

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Stages(Generic[Item, Input, Computed, Output]):
    """What is done with each item.

    Attributes:
        turn: Called, in the calling thread, when an item's turn has come.
        read: Runs in a thread; the warnings that it gives are told when the item's turn comes.
        compute: Runs in the calling thread.
        write: Runs in a thread.
        failed: Called, in the calling thread, with whatever ended an item; the others go on, unless it raises.
    """

    turn: Callable[[Item], None]
    read: Callable[[Item, Reporter], Input]
    compute: Callable[[Item, Input], Computed]
    write: Callable[[Item, Computed], Output]
    failed: Callable[[Item, Exception], None]


class LockedReporter(Reporter):
    """Passes on the events of several threads, one at a time."""

    def __init__(self, outer: Reporter) -> None:
        self._outer, self._lock = outer, threading.Lock()

    def start(self, command: str, **fields: Any) -> None:
        with self._lock:
            self._outer.start(command, **fields)

    def progress(self, phase: str, done: float, total: float) -> None:
        with self._lock:
            self._outer.progress(phase, done, total)

    def warning(self, code: str, message: str) -> None:
        with self._lock:
            self._outer.warning(code, message)

    def info(self, message: str) -> None:
        with self._lock:
            self._outer.info(message)

    def result(self, **fields: Any) -> None:
        with self._lock:
            self._outer.result(**fields)


class DeferredReporter(Reporter):
    """Keeps warnings and free text until they are wanted: what is read ahead concerns a case not yet spoken of."""

    def __init__(self) -> None:
        self._kept: list[tuple[str, tuple[str, ...]]] = []

    def warning(self, code: str, message: str) -> None:
        self._kept.append(("warning", (code, message)))

    def info(self, message: str) -> None:
        self._kept.append(("info", (message,)))

    def tell(self, reporter: Reporter) -> None:
        """Pass on what was kept."""
        kept, self._kept = self._kept, []
        for name, arguments in kept:
            getattr(reporter, name)(*arguments)


def overlapped(
    items: Iterable[Item],
    stages: Stages[Item, Input, Computed, Output],
    reporter: Reporter,
    ready: Callable[[], None] = lambda: None,
) -> list[Output]:
    """Read, compute and write all items.

    Args:
        items: Asked for one at a time, in the calling thread, when reading the next one begins.
        stages: What to do.
        reporter: Receives the progress of reading and writing while the run waits for them.
        ready: Called once, when reading the first item has begun and before anything is computed; not without items.

    Returns:
        What `write` gave, in the order of the items, without those that failed.

    Raises:
        Stopped: The user asked to stop; what is being written is written to its end.
        Exception: What `failed` raises.
    """
    outputs: list[Output] = []
    # The pools wait for their threads when the block ends, whatever ends it: a thread that is inside native code when
    # the interpreter ends would abort the process.
    with ThreadPoolExecutor(1, "mimseg-read") as readers, ThreadPoolExecutor(1, "mimseg-write") as writers:
        coming = _Reading(iter(items), stages.read, readers)
        writing: tuple[Item, Future[Output]] | None = None
        if coming.begun is not None:
            ready()
        while coming.begun is not None:
            stopping.check()
            item, volume = coming.take(reporter, stages)
            computed = None if volume is None else _computed(item, volume, stages)
            del volume
            _collect(writing, outputs, stages.failed)
            writing = None if computed is None else (item, writers.submit(stages.write, item, computed))
            del computed
        if writing is not None:
            reporter.progress("write", 0, 1)
            if _collect(writing, outputs, stages.failed):
                reporter.progress("write", 1, 1)
    return outputs


class _Reading(Generic[Item, Input]):
    """The item that is being read ahead."""

    def __init__(
        self, items: Iterator[Item], read: Callable[[Item, Reporter], Input], pool: ThreadPoolExecutor
    ) -> None:
        self._items, self._read, self._pool = items, read, pool
        self._alone = True
        self.begun: tuple[Item, DeferredReporter, Future[Input]] | None = None
        self._begin()

    def _begin(self) -> None:
        item = next(self._items, None)
        later = DeferredReporter()
        self.begun = None if item is None else (item, later, self._pool.submit(self._read, item, later))

    def take(self, reporter: Reporter, stages: Stages[Item, Input, Any, Any]) -> tuple[Item, Input | None]:
        """The item and what was read, or None if that failed; reading of the next one begins."""
        if self.begun is None:
            raise ValueError("nothing is being read")
        item, later, future = self.begun
        stages.turn(item)
        reporter.progress("read", 0, 1)
        volume = None
        try:
            try:
                volume = _result(future)
            except OutOfMemory:
                if self._alone:
                    raise
                volume = self._read(item, later)  # Now without another case in memory.
            later.tell(reporter)
            reporter.progress("read", 1, 1)
        except Stopped:
            raise
        except Exception as fault:
            later.tell(reporter)
            stages.failed(item, fault)
        del future
        self._begin()
        self._alone = False
        return item, volume


def _computed(item: Item, volume: Input, stages: Stages[Item, Input, Computed, Any]) -> Computed | None:
    try:
        return stages.compute(item, volume)
    except Stopped:
        raise
    except Exception as fault:
        stages.failed(item, fault)
        return None


def _result(future: Future[Any]) -> Any:
    """What the thread returned or raised; stays open to signals and to the user's wish to stop."""
    while not wait([future], _POLL_SECONDS).done:
        stopping.check()
    return future.result()


def _collect(
    writing: tuple[Item, Future[Output]] | None, outputs: list[Output], failed: Callable[[Item, Exception], None]
) -> bool:
    """Wait until an item is written; False if that failed."""
    if writing is None:
        return False
    item, future = writing
    try:
        outputs.append(_result(future))
    except Stopped:
        raise
    except Exception as fault:
        failed(item, fault)
        return False
    return True
