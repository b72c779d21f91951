"""Measuring overlap and quick mode of a model: by engines of known faults, and of a real bundle without PyTorch."""

import dataclasses
import hashlib
import json
import shutil
from importlib import resources

import jsonschema
import numpy as np
import pytest
from measure_tools import SIZE, labels_of, plates, slopes, thresholds, write_cases, wrong_at_the_border
from segment_tools import Recorder
from tiny_model import write_tiny_bundle

from mimseg import stopping
from mimseg.bundle.reader import open_bundle
from mimseg.bundle.update import update_description
from mimseg.cli.main import main
from mimseg.commands.measure import variants as measure_variants
from mimseg.commands.measure.cases import read_scan, spread
from mimseg.commands.measure.run import MeasurementData, measured
from mimseg.data.cases import Case, load_dataset
from mimseg.data.labels.scheme import LabelScheme
from mimseg.errors import Stopped, UserError
from mimseg.events import Reporter


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Models and data that no test changes."""
    folder = tmp_path_factory.mktemp("measure")
    write_tiny_bundle(folder / "tiny")
    write_cases(folder / "slopes", [slopes(seed=number) for number in range(3)])
    write_cases(folder / "plates", [plates()] * 2)
    write_cases(folder / "small", [slopes((16, 16, 14)), slopes((12, 16, 10))])
    return folder


class Counting:
    """An engine of a known fault."""

    def __init__(self, run):
        self.run, self.windows = run, 0

    def __call__(self, batch):
        self.windows += len(batch)
        return self.run(batch)


def measure(made, data, run, reporter=None, **what):
    engine = Counting(run)
    description = open_bundle(made / "tiny").description
    cases = load_dataset(made / data).cases
    found = measured(description, engine, MeasurementData(cases, **what), reporter or Reporter())
    return found, found.scores["inference"], engine.windows


def test_a_network_that_sees_the_same_everywhere_needs_no_overlap_and_even_slopes_no_fine_voxels(made):
    found, record, _ = measure(made, "slopes", thresholds)
    windows = {(row["overlap"], row["spacing"]): row["windows"] for row in record["variants"]}
    assert [windows[overlap, "1 mm"] for overlap in (0.5, 0.375, 0.25, 0.125)] == sorted(
        (windows[overlap, "1 mm"] for overlap in (0.5, 0.375, 0.25, 0.125)), reverse=True
    )
    assert found.overlap == 0.125
    assert found.quick.spacing == (2.0, 2.0, 2.0)
    assert found.quick.overlap == 0.125
    assert found.quick.cases == record["cases"] == 3
    assert found.quick.windows_share == round(windows[0.125, "2 mm"] / windows[0.125, "1 mm"], 5)
    assert 0 < found.quick.dice_loss < 0.02
    usual = next(row for row in record["variants"] if (row["overlap"], row["spacing"]) == (0.125, "1 mm"))
    assert usual["mean_dice"] - found.quick.dice == pytest.approx(found.quick.dice_loss, abs=1e-4)
    assert usual["mean_agreement"] == 1.0


def test_a_network_that_is_wrong_at_the_border_keeps_its_overlap(made):
    found, record, _ = measure(made, "slopes", wrong_at_the_border)
    assert found.overlap == 0.5
    worst = {row["overlap"]: row["worst_agreement"] for row in record["variants"] if row["worst_agreement"]}
    assert worst[0.125] < 0.97
    # What disagrees on the first case is not computed for the others.
    assert next(row["cases"] for row in record["variants"] if row["overlap"] == 0.125) == 1
    assert "no smaller overlap agrees" in record["overlap"]


def test_structures_thinner_than_coarser_voxels_have_no_quick_mode_and_the_card_says_what_was_lost(made):
    found, record, _ = measure(made, "plates", thresholds)
    assert found.quick is None
    assert record["quick_mode"].startswith("None")
    losses = {row["spacing"]: row["mean_loss"] for row in record["variants"]}
    assert losses["2 mm"] > 0.1


def test_scans_of_one_window_keep_the_overlap_and_have_nothing_to_spare(made):
    found, record, windows = measure(made, "small", thresholds)
    assert found.overlap == 0.5
    assert "kept" in record["overlap"]
    assert found.quick is None
    # One run for all overlaps, and three for the spacings.
    first = record["variants"][0]["windows"]
    assert windows == first + sum(row["windows"] for row in record["variants"][4:])


def test_an_overlap_that_was_asked_for_stays_and_without_truth_there_is_no_quick_mode(made):
    found, record, _ = measure(made, "slopes", thresholds, overlap=0.4)
    assert found.overlap == 0.4
    assert [row["overlap"] for row in record["variants"]] == [0.4] * 4
    assert found.quick.overlap == 0.4
    found, record, _ = measure(made, "slopes", thresholds, with_truth=False)
    assert (found.overlap, found.quick) == (0.125, None)
    assert all(row["mean_dice"] is None for row in record["variants"])
    assert "not trained on" in record["quick_mode"]


def test_progress_ends_where_it_should_and_time_ends_it_after_two_scans(made, monkeypatch):
    recorder = Recorder()
    measure(made, "slopes", thresholds, recorder)
    seen = [event[2:] for event in recorder.events if event[:2] == ("progress", "measure")]
    assert seen == sorted(seen)
    assert seen[0] == (0, 21)
    assert seen[-1] == (21, 21)
    clock = iter(range(0, 1000, 100))
    monkeypatch.setattr(measure_variants.time, "monotonic", lambda: next(clock))
    found, record, _ = measure(made, "slopes", thresholds, recorder, seconds=50.0)
    assert found.quick.cases == record["cases"] == 2
    assert recorder.events[-1][2:] == (14, 14)


def test_cases_are_taken_evenly_from_the_whole_list():
    cases = [Case(str(number), (), None) for number in range(40)]
    assert [int(case.identifier) for case in spread(cases)] == [2, 7, 12, 17, 22, 27, 32, 37]
    assert spread(cases[:3]) == cases[:3]


def test_of_structures_that_overlap_the_smallest_is_seen_as_in_results(tmp_path):
    labels = np.zeros(SIZE, np.uint8)
    labels[4:40, 2:16, 2:14] = 1
    labels[10:20, 4:12, 4:12] = 2
    labels[12:14, 6:8, 6:8] = 4
    write_cases(tmp_path / "data", [slopes()], [labels])
    write_tiny_bundle(tmp_path / "tiny")
    description = open_bundle(tmp_path / "tiny").description
    case = load_dataset(tmp_path / "data").cases[0]
    scheme = LabelScheme(description.labels, ((1, 2, 4), (2, 4)))
    scan = read_scan(case, scheme, Reporter())
    assert np.array_equal(scan.truth, np.where(labels == 1, 1, np.where(labels > 0, 2, 0)))
    ignoring = read_scan(case, dataclasses.replace(scheme, regions=((1, 4), (4,)), ignored=2), Reporter())
    assert np.array_equal(ignoring.ignored, labels == 2)
    assert np.array_equal(ignoring.truth, np.where(labels == 1, 1, np.where(labels == 4, 2, 0)))
    with pytest.raises(UserError, match="label values"):
        read_scan(case, LabelScheme(description.labels), Reporter())


def copy_of(made, folder):
    return shutil.copytree(made / "tiny", folder / "tiny")


def events(text):
    schema = json.loads(resources.files("mimseg").joinpath("schemas/events.schema.json").read_text(encoding="utf-8"))
    found = [json.loads(line) for line in text.splitlines()]
    for event in found:
        jsonschema.validate(event, schema)
    return found


def test_the_command_stores_what_it_measured_and_leaves_the_network_alone(made, tmp_path, capsys):
    model = copy_of(made, tmp_path)
    networks = {path.name: path.read_bytes() for path in (model / "models").iterdir()}
    assert main(["measure", str(model), str(made / "slopes"), "--cases", "case_0,case_2", "--json-lines"]) == 0
    told = events(capsys.readouterr().out)
    result = told[-1]
    assert (told[0]["event"], result["event"]) == ("start", "result")
    bundle = open_bundle(model)  # checks every hash
    assert result["overlap"] == bundle.description.overlap == 0.125
    assert result["quick"] == bundle.description.quick.to_json()
    assert result["quick"]["cases"] == 2
    assert {path.name: path.read_bytes() for path in (model / "models").iterdir()} == networks
    card = (model / "docs" / "README.md").read_text(encoding="utf-8")
    assert "2 mm instead of 1 mm" in card
    assert "| 0.125 | 1.25 mm | 2 |" in card
    inferer = json.loads((model / "configs" / "inference.json").read_text(encoding="utf-8"))["inferer"]
    assert inferer["overlap"] == 0.125
    everything = "".join(path.read_text(encoding="utf-8") for path in model.rglob("*.json")) + card
    assert "case_0" not in everything
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny"]


def test_cases_that_the_model_was_trained_on_are_left_out_or_only_agree(made, tmp_path, capsys):
    model = copy_of(made, tmp_path)
    images = [case.images[0] for case in load_dataset(made / "slopes").cases]
    for count, quick in ((1, True), (3, False)):
        hashes = [hashlib.sha256(image.read_bytes()).hexdigest() for image in images[:count]]
        description = open_bundle(copy_of(made, tmp_path / str(count))).description
        training = {"finetuning": {"training_sha256": hashes}}
        update_description(model, type(description)(**{**vars(description), "training": training}))
        assert main(["measure", str(model), str(made / "slopes"), "--json-lines"]) == 0
        told = events(capsys.readouterr().out)
        assert (told[-1]["quick"] is not None) == quick
        assert told[-1]["inference"]["cases"] == (2 if quick else 3)
        assert [event["code"] for event in told if event["event"] == "warning"] == ([] if quick else ["trained-on"])


def test_a_stop_and_a_failure_leave_the_model_as_it_was(made, tmp_path, monkeypatch):
    model = copy_of(made, tmp_path)
    before = {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}

    def stop(*_):
        stopping.request()
        raise Stopped

    monkeypatch.setattr(measure_variants, "segment_volume", lambda *_, **__: stop())
    assert main(["measure", str(model), str(made / "slopes"), "--quiet"]) == 130
    stopping.clear()
    monkeypatch.undo()
    monkeypatch.setattr("mimseg.bundle.update.write_hashes", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    assert main(["measure", str(model), str(made / "slopes"), "--quiet", "--cases", "case_0"]) == 2
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["tiny", "nowhere"], "not-found"),
        (["tiny", "slopes", "--cases", "case_9"], "unknown-case"),
        (["tiny", "other"], "unknown-label-value"),
        (["absent", "slopes"], "no-such-model"),
        (["shipped-model", "slopes"], "shipped-model"),
        (["tiny", "slopes", "--threads", "0"], "usage"),
        (["tiny.zip", "slopes"], "usage"),
    ],
)
def test_what_cannot_be_measured_is_said_and_changes_nothing(made, tmp_path, monkeypatch, capsys, arguments, code):
    monkeypatch.chdir(tmp_path)
    copy_of(made, tmp_path)
    shutil.copytree(made / "tiny", tmp_path / "shipped" / "shipped-model")
    monkeypatch.setattr("mimseg.bundle.locations.shipped_folder", lambda: tmp_path / "shipped")
    shutil.copytree(made / "slopes", tmp_path / "slopes")
    if "other" in arguments:
        write_cases(tmp_path / "other", [slopes()], [labels_of(slopes()) // 3])
    if "tiny.zip" in arguments:
        assert main(["models", "export", "tiny", "tiny.zip", "--quiet"]) == 0
    before = sorted(tmp_path.rglob("*"))
    assert main(["measure", *arguments, "--json-lines"]) == 2
    error = events(capsys.readouterr().out)[-1]
    assert error["event"] == "error"
    assert error["code"] == code
    assert error["hint"]
    assert sorted(tmp_path.rglob("*")) == before
