"""Reading ahead, computing and writing at the same time."""

import threading

import pytest
from segment_tools import Recorder

from mimseg.commands.segment.overlap import Stages, overlapped
from mimseg.errors import OutOfMemory, Stopped, UserError, of_case
from mimseg.events import Reporter


def stages(**changes):
    """Stages that pass numbers on, with those under test replaced."""

    def refuse(item, fault):
        raise fault

    plain = {
        "turn": lambda item: None,
        "read": lambda item, reporter: item,
        "compute": lambda item, volume: volume,
        "write": lambda item, computed: computed,
        "failed": refuse,
    }
    return Stages(**{**plain, **changes})


def test_the_next_case_is_read_while_one_is_computed_and_only_that_one():
    read = [threading.Event() for _ in range(5)]

    def compute(item, volume):
        if item < 4:
            assert read[item + 1].wait(10)  # Would never come if reading waited for the computation.
        assert not any(event.is_set() for event in read[item + 2 :])
        return volume

    done = overlapped(range(5), stages(read=lambda item, _: read[item].set() or item, compute=compute), Reporter())
    assert done == [0, 1, 2, 3, 4]


def test_a_case_is_written_while_the_next_is_computed():
    computing = threading.Event()

    def write(item, computed):
        assert item == 1 or computing.wait(10)
        return computed

    def compute(item, volume):
        if item == 1:
            computing.set()
        return volume

    assert overlapped(range(2), stages(compute=compute, write=write), Reporter()) == [0, 1]


def test_stopping_leaves_what_is_being_written(tmp_path):
    stopped = threading.Event()

    def compute(item, volume):
        if item == 1:
            stopped.set()
            raise Stopped
        return volume

    def write(item, computed):
        assert stopped.wait(10)
        (tmp_path / str(item)).touch()

    with pytest.raises(Stopped):
        overlapped(range(3), stages(compute=compute, write=write), Reporter())
    assert [path.name for path in tmp_path.iterdir()] == ["0"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mimseg-")]


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
def test_a_case_that_fails_anywhere_is_left_out(stage):
    failures = []

    def fail(item, *_):
        if item == 1:
            raise UserError("bad")
        return item

    changes = {stage: fail, "failed": lambda item, fault: failures.append((item, fault.message))}
    assert overlapped(range(3), stages(**changes), Reporter()) == [0, 2]
    assert failures == [(1, "bad")]


def test_a_case_that_memory_was_too_small_to_read_ahead_is_read_in_its_turn():
    attempts = []

    def read(item, _):
        attempts.append(item)
        if item == 1 and attempts.count(1) == 1:
            raise OutOfMemory("full")
        return item

    assert overlapped(range(2), stages(read=read), Reporter()) == [0, 1]
    with pytest.raises(OutOfMemory):
        overlapped([1], stages(read=lambda *_: attempts.clear() or read(1, None)), Reporter())


def test_warnings_of_reading_come_in_their_case_s_turn():
    recorder = Recorder()

    def read(item, reporter):
        reporter.warning("read", str(item))
        return item

    overlapped(range(2), stages(turn=lambda item: recorder.warning("turn", str(item)), read=read), recorder)
    told = [event[1:] for event in recorder.events if event[0] == "warning"]
    assert told == [("turn", "0"), ("read", "0"), ("turn", "1"), ("read", "1")]


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
@pytest.mark.parametrize("fault", [TypeError("a fault of ours"), MemoryError(), OutOfMemory("full"), OSError(5, "I/O")])
def test_whatever_ends_a_case_ends_that_case_only(stage, fault):
    failures = []

    def fail(item, *_):
        if item == 1:
            raise fault
        return item

    changes = {stage: fail, "failed": lambda item, fault: failures.append((item, fault))}
    assert overlapped(range(3), stages(**changes), Reporter()) == [0, 2]
    assert failures == [(1, fault)]


def test_a_fault_of_ours_is_named_with_its_place():
    try:
        len(3)  # type: ignore[arg-type]
    except TypeError as fault:
        told = of_case(fault)
    assert told.code == "bug"
    assert "TypeError" in told.message
    assert "test_segment_overlap.py, line" in told.message
    assert of_case(UserError("x", "y", "z")).code == "z"
    assert isinstance(of_case(MemoryError()), OutOfMemory)
    with pytest.raises(Stopped):
        of_case(Stopped())
