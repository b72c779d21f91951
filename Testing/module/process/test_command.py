"""Arguments for the backend and events from it, as plain Python; the arguments go through the backend's own parser."""

import itertools
import json
from types import SimpleNamespace

import logic_tools  # noqa: F401 - makes the module importable
import pytest

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")

from MIMSegmentLib.Panel.Training.TrainingTexts import foldsOf, numberOfTrainings
from MIMSegmentLib.Process import Answer, Command
from MIMSegmentLib.Process.Answer import parseLine, problemText
from MIMSegmentLib.Process.Command import FinetuneRequest, PretrainRequest, SegmentRequest


def parse(arguments):
    from mimseg.cli.main import build_parser

    return build_parser().parse_args(arguments)


def test_the_backend_accepts_a_full_segment_request():
    regions = ((-46.0, -10.0, -46.25, 6.0, -33.0, 5.0), (10.0, 46.0, -46.0, 6.0, -33.0, 5.0))
    request = SegmentRequest(
        model="hippocampus-mr",
        device="cpu",
        labels=("Left Hippocampus", "-x"),
        inputs=("a b.nrrd", "ä.nrrd"),
        output="results",
        regions=regions,
        table="t.csv",
    )
    parsed = parse(request.arguments())
    assert [str(path) for path in parsed.inputs] == ["a b.nrrd", "ä.nrrd"]
    assert (parsed.model, str(parsed.output), parsed.device) == ("hippocampus-mr", "results", "cpu")
    assert parsed.labels == "Left Hippocampus,-x"
    assert parsed.format == ".seg.nrrd"
    assert str(parsed.table) == "t.csv"
    assert parsed.json_lines
    assert parsed.stop_with_stdin
    from mimseg.cli.segment import parse_region

    assert tuple(parse_region(text) for text in parsed.roi) == regions


def test_a_segment_request_without_options_leaves_them_to_the_backend():
    parsed = parse(SegmentRequest("m", inputs=("a.nrrd",), output="out").arguments())
    assert (parsed.roi, parsed.labels, parsed.table, parsed.device) == ([], "", None, "auto")


def test_a_name_with_a_comma_is_refused_instead_of_split():
    with pytest.raises(ValueError, match="comma"):
        SegmentRequest("m", labels=("Lung, left",)).arguments()


@pytest.mark.parametrize("finish", [False, True])
@pytest.mark.parametrize("resume", [False, True])
def test_the_backend_accepts_a_full_finetune_request(resume, finish):
    request = FinetuneRequest(
        "-- Mein Modell",
        12.5,
        device="cpu",
        cases="cases.json",
        output="out/m",
        labels="labels.json",
        name="m",
        resume=resume,
        finish=finish,
    )
    parsed = parse(request.arguments())
    assert (str(parsed.data), str(parsed.output), parsed.init) == ("cases.json", "out/m", "none")
    assert (str(parsed.labels), parsed.minutes, parsed.name) == ("labels.json", 12.5, "m")
    assert (parsed.title, parsed.device) == ("-- Mein Modell", "cpu")
    assert parsed.resume == (resume or finish)
    assert parsed.finish == finish
    assert parsed.stop_with_stdin


def test_the_backend_accepts_what_few_cases_need():
    few = {"folds": "auto", "compare": True, "pretrainOn": ("a b", "c"), "pretrainMinutes": 30.0}
    request = FinetuneRequest(cases="cases.json", output="m", more=("--batch", "2"), **few)
    parsed = parse(request.arguments())
    assert (parsed.folds, parsed.compare, parsed.pretrain_minutes, parsed.batch) == (0, True, 30.0, 2)
    assert [str(path) for path in parsed.pretrain_on] == ["a b", "c"]
    assert not parsed.plan_only
    planned = parse(Command.planArguments(request))
    assert planned.plan_only
    assert planned.json_lines
    assert vars(planned) == {**vars(parsed), "plan_only": True}


def test_the_backend_accepts_a_locator():
    request = FinetuneRequest(cases="cases.json", output="m", locator="head:Hippocampus", trainedSide="left")
    parsed = parse(request.arguments())
    assert (parsed.locator, parsed.trained_side) == ("head:Hippocampus", "left")
    without = parse(FinetuneRequest(cases="cases.json", output="m", trainedSide="left").arguments())
    assert (without.locator, without.trained_side) == (None, None)


def test_the_backend_accepts_mirrored_cases():
    assert parse(FinetuneRequest(cases="cases.json", output="m", mirrored=True).arguments()).flip_pairs
    assert not parse(FinetuneRequest(cases="cases.json", output="m").arguments()).flip_pairs


def test_the_number_of_trainings_is_that_of_the_backend():
    pytest.importorskip("torch")
    from mimseg.commands.crossvalidate.settings import CrossvalidationSettings
    from mimseg.training.folds import assign_folds

    for subjects in range(2, 13):
        assert foldsOf(subjects) == max(assign_folds([str(n) for n in range(subjects)], 0, 0)) + 1
    for compare, start, own in itertools.product((False, True), repeat=3):
        settings = CrossvalidationSettings(SimpleNamespace(initial="m" if start else None), 0, compare, own or None)
        assert numberOfTrainings(5, compare, start, own) == 5 * len(settings.arms) + 1


@pytest.mark.parametrize("method", ["mae", "simmim", "simclr"])
def test_every_method_of_pre_training_is_known_to_the_backend(method):
    assert parse(PretrainRequest(data=("a",), output="run", method=method).arguments()).method == method


def test_the_backend_accepts_a_ranking():
    parsed = parse(Command.rankArguments("a b", "m", "out/report", "cases.json"))
    assert ([str(path) for path in parsed.inputs], parsed.model) == (["a b"], ["m"])
    assert (parsed.output.as_posix(), str(parsed.labelled), parsed.format) == ("out/report", "cases.json", ".seg.nrrd")
    assert parse(Command.rankArguments("a", "m", "out")).labelled is None


def test_an_empty_start_model_means_random_weights():
    assert parse(FinetuneRequest(cases="cases.json", output="m", initial="").arguments()).init == "none"


def test_the_backend_accepts_a_full_pretrain_request():
    parsed = parse(PretrainRequest("x", ("a", "b c"), 3.0, "cpu", output="run", resume=True).arguments())
    assert [str(path) for path in parsed.data] == ["a", "b c"]
    assert (str(parsed.output), parsed.minutes, parsed.device, parsed.resume) == ("run", 3.0, "cpu", True)


@pytest.mark.parametrize(
    "arguments",
    [
        Command.modelsArguments("list"),
        Command.modelsArguments("show", "m"),
        Command.modelsArguments("export", "m", "m.zip"),
        Command.modelsArguments("import", "m.zip", replace=True),
        Command.modelsArguments("remove", "m"),
        Command.doctorArguments(),
        Command.doctorArguments(quick=True),
        Command.checkArguments("cases.json"),
        Command.checkArguments("cases.json", "labels.json", "MR"),
        Command.checkArguments("cases.json", "labels.json", model="hippocampus-mr", report="a b/check.html"),
        Command.pairsArguments("a b/ä"),
    ],
)
def test_the_backend_accepts_every_question(arguments):
    parsed = parse(arguments)
    assert parsed.json_lines
    assert parsed.stop_with_stdin


@pytest.mark.parametrize(
    "text", ["", "hello", "{", "[]", "3", "null", '{"event": "party"}', '{"a": 1}', '{"event": 3}']
)
def test_what_is_no_event_is_not_taken_for_one(text):
    assert parseLine(text) is None


def test_every_kind_of_event_of_the_backend_is_understood():
    import io

    from mimseg.events import JsonLinesReporter

    stream = io.StringIO()
    reporter = JsonLinesReporter(stream, io.StringIO())
    reporter.start("segment", device="cpu")
    reporter.progress("segment", 1, 2)
    reporter.metric("loss", float("nan"), step=3)
    reporter.model("m.training/best-model", 3, 0.5)
    reporter.warning("a-code", "Ä")
    reporter.result(outputs=[])
    reporter.error("a-code", "Fault.", "Remedy.")
    events = [parseLine(line) for line in stream.getvalue().splitlines()]
    assert [event.kind for event in events] == list(Answer.EVENTS)
    assert events[0].fields == {"command": "segment", "device": "cpu"}
    assert events[2].fields == {"name": "loss", "value": None, "step": 3}
    assert events[4].fields["message"] == "Ä"


def test_the_exit_codes_are_those_of_the_backend():
    from mimseg import errors

    ours = (Answer.EXIT_DONE, Answer.EXIT_BUG, Answer.EXIT_USER, Answer.EXIT_OUT_OF_MEMORY, Answer.EXIT_STOPPED)
    theirs = (errors.EXIT_DONE, errors.EXIT_BUG, errors.EXIT_USER, errors.EXIT_OUT_OF_MEMORY, errors.EXIT_STOPPED)
    assert ours == theirs


@pytest.mark.parametrize("code", [-1, 1, 2, 3, 137, 0])
def test_every_failure_has_a_sentence_and_a_remedy(code):
    message, hint = problemText(code)
    assert message.endswith(".")
    assert hint.endswith(".")


def test_the_backends_own_words_come_first():
    error = json.loads('{"code": "x", "message": "The file is empty.", "hint": "Choose another."}')
    assert problemText(2, error) == ("The file is empty.", "Choose another.")
