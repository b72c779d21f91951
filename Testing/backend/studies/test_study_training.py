"""Studies that train: planned from real files, killed, gone on with, and reported."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from foreign_weights import nnssl_checkpoint, primus_encoder  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from synthetic import write_dataset  # noqa: E402

from mimseg import stopping  # noqa: E402
from mimseg.cli.main import build_parser, main  # noqa: E402
from mimseg.cli.study import design_from  # noqa: E402
from mimseg.commands.study.given import preprocessing_of, read_given  # noqa: E402
from mimseg.commands.study.plan import asked, check_asked, plan_study  # noqa: E402
from mimseg.commands.study.probe import Times, find_steps, kind_of  # noqa: E402
from mimseg.commands.study.settings import StudySettings  # noqa: E402
from mimseg.data.intensity import Intensity  # noqa: E402
from mimseg.data.preprocessing import Preprocessing  # noqa: E402
from mimseg.errors import Stopped, UserError  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.networks.primus_settings import PrimusSettings  # noqa: E402
from mimseg.studies.plan import FINETUNING, PRETRAINING, Plan, read_plan  # noqa: E402
from mimseg.studies.results import SCORES, read_results  # noqa: E402
from mimseg.training.planning import choose_preprocessing  # noqa: E402

NETWORK = [
    "--hidden-size", "24", "--mlp-size", "24", "--heads", "2", "--feature-size", "2", "--layers", "4",
    "--patch-size", "8", "--device", "cpu", "--precision", "32-true",
]  # fmt: skip
SMALL = ["--seeds", "0", "--labelled", "2", "--validations", "5", "--pretrain-batch", "2", "--methods", "scratch,mae"]
STEPS = ["--steps", "20", "--pretrain-steps", "4"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("study") / "data", 10)


def settings_of(claim: str, data: Path, report: Path, *options: str) -> StudySettings:
    words = ["study", claim, str(data), "-o", str(report), *NETWORK, *options]
    arguments = build_parser("study").parse_args(words)
    names = ("minutes", "steps", "pretrain_steps", "device")
    return StudySettings(design_from(arguments), data, report, **{name: getattr(arguments, name) for name in names})


def planned(claim: str, data: Path, report: Path, *options: str) -> Plan:
    return plan_study(settings_of(claim, data, report, *STEPS, *options), Reporter())


def test_windows_cover_the_same_millimetres_and_fit_every_patch(data: Path, tmp_path: Path) -> None:
    resolution = planned("resolution", data, tmp_path, "--labelled", "2", "--spacings", "1,2")
    assert resolution.facts.windows == {"1x1x1 patch 8": (24, 24, 24), "2x2x2 patch 8": (16, 16, 16)}
    masking = planned("masking", data, tmp_path, "--labelled", "2")
    assert set(masking.facts.windows.values()) == {(32, 32, 32)}
    given = planned("resolution", data, tmp_path, "--labelled", "2", "--spacings", "2,1", "--window", "16,24,16")
    assert given.facts.windows == {"1x1x1 patch 8": (16, 24, 16), "2x2x2 patch 8": (8, 16, 8)}
    with pytest.raises(UserError, match="whole patches"):
        planned("masking", data, tmp_path, "--labelled", "2", "--window", "24,24,24")


def test_a_plan_names_the_cases_and_fills_in_the_methods_defaults(data: Path, tmp_path: Path) -> None:
    plan = planned("labels", data, tmp_path, "--sizes", "1,3", "--seeds", "0,1")
    lists = plan.cases["labelled"]
    assert lists["seed0"]["3"][:1] == lists["seed0"]["1"]
    assert set(plan.cases["validation"]) == {"case_4", "case_9"}
    assert not set(plan.cases["pool"]) & set(plan.cases["validation"])
    first = next(run for run in plan.runs if run.kind == PRETRAINING)
    assert first.settings["method_settings"]["mask_ratio"] == 0.75
    assert (first.settings["steps"], plan.runs[-1].settings["steps"]) == (4, 20)
    assert "case_" not in json.dumps([run.settings for run in plan.runs])
    # A decoder that is the default one is the same run.
    decoder = planned("decoder", data, tmp_path, "--labelled", "3", "--decoders", "192x1", "--seeds", "0")
    assert first.name in {run.name for run in decoder.runs}


def test_going_on_with_other_settings_is_refused(data: Path, tmp_path: Path) -> None:
    settings = settings_of("labels", data, tmp_path, *STEPS, "--sizes", "1")
    plan = plan_study(settings, Reporter())
    check_asked(plan, settings)
    assert plan.asked == asked(settings)
    for option in (["--sizes", "2"], ["--learning-rate", "0.01"], ["--steps", "40"]):
        with pytest.raises(UserError, match="other settings") as caught:
            check_asked(plan, settings_of("labels", data, tmp_path, *STEPS, "--sizes", "1", *option))
        assert caught.value.code == "settings-differ"


def test_minutes_become_steps_by_the_times_of_a_probe(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe(plan: Plan, settings: StudySettings, reporter: Reporter) -> dict[str, Times]:
        return {kind_of(run): Times(0.3 if run.kind == PRETRAINING else 0.1, 6.0) for run in plan.runs}

    monkeypatch.setattr("mimseg.commands.study.probe.probe", probe)

    def found(*options: str) -> tuple[int, int]:
        settings = settings_of("labels", data, tmp_path, "--sizes", "1", "--seeds", "0", *options)
        facts = find_steps(plan_study(settings, Reporter()), settings, Reporter()).facts
        return facts.pretrain_steps, facts.steps

    # 3 runs: 18 s fixed; a pre-training step 0.3 s, a step of both fine-tunings 0.2 s.
    assert found("--minutes", "10") == (1450, 720)  # (600 - 18) / (2 * 0.3 + 0.2) = 727
    assert found("--minutes", "10", "--steps", "1000") == (1270, 1000)
    assert found("--minutes", "10", "--pretrain-steps", "940") == (940, 1500)
    with pytest.raises(UserError, match=r"Give at least 0\.8 minutes"):
        found("--minutes", "0.5")


def run_study(data: Path, report: Path, runs: Path, *more: str) -> list[str]:
    return ["study", "convergence", str(data), "-o", str(report), "--runs", str(runs), *SMALL, *STEPS, *NETWORK, *more]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums in another order differ in their last digits: all parts of a run need the same number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_killed_study_goes_on_to_exactly_the_report_of_an_unbroken_one(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pictures of the runs take most of the time and are not part of a study.
    monkeypatch.setattr("mimseg.training.curves.Curves._draw", lambda self: None)
    monkeypatch.setattr("mimseg.commands.pretrain.run.draw_reconstruction", lambda *arguments: None)
    runs = tmp_path / "broken runs"
    words = run_study(data, tmp_path / "broken", runs)
    killed = subprocess.Popen(
        [sys.executable, "-m", "mimseg", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 120
    while not list(runs.glob("finetuning-*/checkpoint.pt")):
        assert time.monotonic() < deadline
        assert killed.poll() is None, killed.stderr and killed.stderr.read().decode()[-2000:]
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    killed.communicate(timeout=20)
    plan = read_plan(tmp_path / "broken" / "plan.json")
    left = read_results(plan, runs)
    assert len(left.missing) in (1, 2, 3)
    assert any(reason == "not finished" for _, reason in left.missing)

    assert main([*words, "--json-lines"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events].count("start") == 1
    assert events[-1]["event"] == "result"
    assert events[-1]["missing"] == 0
    assert {"phase": "study", "done": 3, "total": 3}.items() <= events[-2].items()

    unbroken = tmp_path / "unbroken runs"
    assert main([*run_study(data, tmp_path / "unbroken", unbroken), "--quiet"]) == 0
    reports = [
        json.loads((tmp_path / name / "results.json").read_text(encoding="utf-8")) for name in ("broken", "unbroken")
    ]
    for report in reports:
        for row in report["rows"]:
            for run in row["runs"]:
                assert run.pop("seconds") > 0
        report.pop("command")
    assert reports[0] == reports[1]
    assert reports[0]["missing"] == []
    assert [len(row["runs"][0]["dice_by_case"]) for row in reports[0]["rows"]] == [2, 2]
    assert reports[0]["rows"][0]["runs"][0]["steps"] == [4, 8, 12, 16, 20]

    # Finished runs are found, and the report comes again without the data.
    stamps = {path: path.stat().st_mtime_ns for path in unbroken.rglob(SCORES)}
    page = tmp_path / "unbroken" / "report.html"
    first = page.read_bytes()
    assert main([*run_study(data, tmp_path / "unbroken", unbroken), "--quiet"]) == 0
    assert {path: path.stat().st_mtime_ns for path in unbroken.rglob(SCORES)} == stamps
    page.unlink()
    assert main([*run_study(tmp_path / "gone", tmp_path / "unbroken", unbroken, "--report-only"), "--quiet"]) == 0
    assert page.read_bytes() == first
    assert not list(unbroken.rglob("checkpoint.pt"))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published encoder, taken in."""
    folder = tmp_path_factory.mktemp("given")
    shape = PrimusSettings(window=(16, 24, 16), classes=1, hidden_size=24, heads=2, layers=3)
    file = nnssl_checkpoint(folder / "PrimusM-OpenMind-MAE.pth", primus_encoder(shape), shape.window)
    assert main(["models", "import", str(file), str(folder / "run"), "--heads", "2", "--quiet"]) == 0
    return folder / "run"


@pytest.mark.usefixtures("one_thread")
def test_given_weights_are_tried_as_they_are_and_continued_on_the_pool(
    data: Path, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimseg.training.curves.Curves._draw", lambda self: None)
    monkeypatch.setattr("mimseg.commands.pretrain.run.draw_reconstruction", lambda *arguments: None)
    monkeypatch.setattr("mimseg.studies.report._png", lambda figure: b"")
    report, runs = tmp_path / "report", tmp_path / "runs"
    words = [
        "study", "convergence", str(data), "-o", str(report), "--runs", str(runs), "--init", str(given),
        "--methods", "given,given+mae", "--labelled", "2", "--seeds", "0", "--validations", "5", "--steps", "5",
        "--pretrain-batch", "2", "--pretrain-steps", "2", "--device", "cpu", "--precision", "32-true", "--quiet",
    ]  # fmt: skip
    assert main(words) == 0
    content = json.loads((report / "results.json").read_text(encoding="utf-8"))
    assert content["missing"] == []
    assert content["design"]["network"]["hidden_size"] == 24
    assert (content["spacing_mm"], content["windows"]) == ([1.0, 1.25, 1.5], {"default patch 8": [16, 24, 16]})
    assert content["design"]["given"]["licence"] == "CC-BY-4.0"
    plan = read_plan(report / "plan.json")
    as_is, continued = (plan.find(row.name, FINETUNING, 0) for row in plan.variants)
    pretraining = plan.find(plan.variants[1].name, PRETRAINING, 0)
    assert as_is is not None
    assert continued is not None
    assert pretraining is not None
    folder = pretraining.folder(runs)
    provenance = json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))["provenance"]
    assert provenance["initial"]["licence"] == "CC-BY-4.0"
    theirs, ours = load_file(given / "encoder.safetensors"), load_file(folder / "encoder.safetensors")
    assert len(provenance["transfer"]["loaded"]) == len(theirs)
    for run in (as_is, continued):
        transfer = json.loads((run.folder(runs) / "transfer.json").read_text(encoding="utf-8"))
        assert len(transfer["loaded"]) == len(theirs)
    # Continued weights are near the given ones, and are not these.
    assert 0 < max(float((ours[name] - value).abs().max()) for name, value in theirs.items()) < 0.1


def test_every_row_sees_scans_as_the_given_weights_do(data: Path, given: Path, tmp_path: Path) -> None:
    content = json.loads((given / "pretraining.json").read_text(encoding="utf-8"))
    content["preprocessing"]["intensity"] = Intensity("window", 0, 300).to_json()
    shutil.copytree(given, tmp_path / "other")
    (tmp_path / "other" / "pretraining.json").write_text(json.dumps(content), encoding="utf-8")
    plain = settings_of("labels", data, tmp_path, *STEPS, "--sizes", "1", "--spacing", "1.5")
    expected = Preprocessing("RAS", (1.5, 1.5, 1.5), Intensity("window", 0, 300))
    plan = planned_with_given(replace(plain, initial=str(tmp_path / "other")))
    assert {preprocessing_of(run.settings) for run in plan.runs} == {expected}
    assert choose_preprocessing(None, expected, "MR", None, list) == ("MR", expected)
    usual = planned_with_given(replace(plain, initial=str(given)))
    assert {preprocessing_of(run.settings).intensity for run in usual.runs} == {Intensity("zscore")}
    assert not any("preprocessing" in run.settings for run in usual.runs)


def planned_with_given(settings: StudySettings) -> Plan:
    chosen, weights = read_given(settings)
    return plan_study(chosen, Reporter(), weights)


def test_weights_that_cannot_be_given_are_refused(data: Path, given: Path, tmp_path: Path) -> None:
    def refused(initial: Path, *options: str) -> UserError:
        settings = replace(
            settings_of("labels", data, tmp_path / "report", *STEPS, "--sizes", "1"),
            initial=str(initial), network_asked="--network" in options,
        )  # fmt: skip
        with pytest.raises(UserError) as caught:
            planned_with_given(settings)
        return caught.value

    assert refused(given, "--network").code == "other-network"
    file = given.parent / "PrimusM-OpenMind-MAE.pth"
    fault = refused(file)
    assert (fault.code, str(file) in str(fault)) == ("not-a-model", True)
    assert f"mimseg models import {file}" in fault.hint
    # A pre-training that saw a validation case, and one that went on from it.
    seen = json.loads((given / "pretraining.json").read_text(encoding="utf-8"))
    scan = hashlib.sha256((data / "imagesTr" / "case_4.nii.gz").read_bytes()).hexdigest()
    for provenance in ({"data_sha256": [scan]}, {"data_sha256": [], "initial": {"data_sha256": [scan]}}):
        shutil.copytree(given, tmp_path / "seen", dirs_exist_ok=True)
        seen["provenance"] = {"method": "MAE", "volumes": 1, **provenance}
        (tmp_path / "seen" / "pretraining.json").write_text(json.dumps(seen), encoding="utf-8")
        assert "learned from 1 of the 2 cases" in str(refused(tmp_path / "seen"))


def test_going_on_with_other_given_weights_is_refused(data: Path, given: Path, tmp_path: Path) -> None:
    settings = replace(settings_of("labels", data, tmp_path, *STEPS, "--sizes", "1"), initial=str(given))
    plan = planned_with_given(settings)
    check_asked(plan, read_given(settings)[0])
    changed = load_file(given / "encoder.safetensors")
    changed["vit.eva.pos_embed"] = changed["vit.eva.pos_embed"] + 1
    shutil.copytree(given, tmp_path / "changed")
    save_file(changed, tmp_path / "changed" / "encoder.safetensors")
    with pytest.raises(UserError, match="other settings: given"):
        check_asked(plan, read_given(replace(settings, initial=str(tmp_path / "changed")))[0])
    with pytest.raises(UserError, match="other settings"):
        check_asked(plan, replace(settings, initial=None))


def test_a_stop_leaves_a_study_that_says_what_is_missing_and_how_it_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(self: object, run: object) -> None:
        stopping.request()
        raise Stopped("Stopped by the user; what was trained is kept.", "Continue with --resume.")

    monkeypatch.setattr("mimseg.commands.study.runner.Runner.train", stop)
    report = tmp_path / "report"
    assert main([*run_study(data, report, tmp_path / "runs"), "--quiet"]) == 130
    told = capsys.readouterr().err
    assert "Give the same command again" in told
    assert "2 subjects validate: a difference cannot be shown" in told  # said before anything is trained
    assert "1 comparison needs at least 6: choose them with --validation" in told
    assert "--resume" not in told
    page = (report / "report.html").read_text(encoding="utf-8")
    assert "3 of 3 runs are missing" in page
    assert sum(run.kind == FINETUNING for run in read_plan(report / "plan.json").runs) == 2


def test_given_weights_of_another_modality_are_refused(data: Path, given: Path, tmp_path: Path) -> None:
    asked = settings_of("labels", data, tmp_path, *STEPS, "--sizes", "1", "--modality", "CT")
    with pytest.raises(UserError, match="for MR, not for CT"):
        read_given(replace(asked, initial=str(given)))
