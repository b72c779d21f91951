"""Every code of the backend has words of the panel, and no word of the command line is ever shown."""

import ast
import re

import pytest
from fake_backend import fake_backend
from logic_tools import ROOT, add_volume, scripted_backend
from panel_tools import open_panel, run_to_end

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
from MIMSegmentLib.Process.Answer import problemText
from MIMSegmentLib.Process.Sentences import sentences
from MIMSegmentLib.Process.Words import actionOf, hasCommandWords, inPanelWords, warningInPanelWords, wordsOf

BACKEND = ROOT / "backend" / "src" / "mimseg"
# Calls that carry a code: its place among the arguments.
CALLS = {"UserError": 2, "OutOfMemory": 2, "MimsegError": 2, "Stopped": 2, "warning": 0}


def codes_of_the_backend():
    """Codes of errors and warnings, as they stand in the backend's source."""
    found = {"bad-input", "out-of-memory", "stopped", "bug"}
    for path in BACKEND.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name not in CALLS:
                continue
            given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
            given += node.args[CALLS[name] : CALLS[name] + 1]
            found |= {
                value.value for value in given if isinstance(value, ast.Constant) and isinstance(value.value, str)
            }
    return sorted(found)


def test_the_codes_of_the_backend_are_found():
    assert len(codes_of_the_backend()) > 80


def test_a_code_stands_in_one_place():
    codes = [code for codes, _words in sentences() for code in codes.split()]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("code", codes_of_the_backend())
def test_every_code_of_the_backend_has_a_sentence_and_a_remedy_without_a_command(code):
    words = wordsOf(code)
    assert words is not None, f"{code} has no words in MIMSegmentLib/Process/Sentences.py"
    for text in (words.sentence, words.remedy):
        assert text.endswith(".")
        assert not hasCommandWords(text)


@pytest.mark.parametrize(
    "text",
    [
        "Write --roi=1,2,3.", "Use `mimseg doctor`.", 'pip install "mimseg[train]"', "Choose -d cpu.",
        "PyTorch from its CPU index.", "See mimseg models list.", "Give --folds auto or a number.",
    ],
)  # fmt: skip
def test_words_of_the_command_line_are_known_and_never_shown(text):
    assert hasCommandWords(text)
    for code in ("bad-usage", "a-code-of-tomorrow"):
        message, hint = problemText(2, {"code": code, "message": text, "hint": text})
        assert not hasCommandWords(message)
        assert not hasCommandWords(hint)
        assert message
        assert hint
        assert not hasCommandWords(warningInPanelWords(code, text))


def test_a_sentence_that_names_the_file_stays():
    assert inPanelWords("unreadable", "scan.nrrd is cut off.", "Use --resume.")[0] == "scan.nrrd is cut off."
    assert not hasCommandWords("The left-right axis of a T1-weighted scan - nothing else.")


def test_the_panels_own_texts_hold_no_word_of_the_command_line():
    ui = (ROOT / "MIMSegment" / "Resources" / "UI" / "MIMSegment.ui").read_text(encoding="utf-8")
    texts = re.findall(r"<string>([^<]*)</string>", ui)
    for path in (ROOT / "MIMSegment" / "MIMSegmentLib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_":
                texts += [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
    assert len(texts) > 400
    # Who chooses a Python of their own, for experts, has to know what it is for; and what pip said is told.
    allowed = ("Python program to run mimseg with", "an environment with mimseg", "pip ended with code")
    wrong = [text for text in texts if hasCommandWords(text) and not any(each in text for each in allowed)]
    assert wrong == []


def test_a_failure_offers_its_remedy_as_a_link(monkeypatch, tmp_path, slicer, scene, open_module):
    backend, _mode = fake_backend(tmp_path / "module")
    panel = open_panel(monkeypatch, tmp_path, open_module, backend).panel
    panel.ui.inputVolumeSelector.setCurrentNode(add_volume(scene))
    scripted_backend(
        tmp_path / "module",
        "tell('error', code='no-engine', message='Run `mimseg doctor`.', hint='pip install openvino')\nsys.exit(2)\n",
    )
    name, message, hint = run_to_end(panel, panel.ui.segmentButton)
    assert name == "failed"
    assert not hasCommandWords(message + " " + hint)
    assert actionOf("no-engine") == "install"
    assert '<a href="install">' in panel.ui.segmentStatusLabel.text
    asked = []
    monkeypatch.setattr(panel.setup, "install", asked.append)
    panel.segmentTab.status.remedied.emit("install")
    assert asked == ["segment"]
    assert panel.ui.tabWidget.currentIndex == 4


def test_texts_are_escaped_once(monkeypatch, tmp_path, slicer, scene, open_module):
    panel = open_panel(monkeypatch, tmp_path, open_module, fake_backend(tmp_path / "module")[0]).panel
    panel.segmentTab.status.hint("Don't <stop> now")
    assert panel.ui.segmentStatusLabel.text == "Don&#x27;t &lt;stop&gt; now"
    escaped = [name for name in vars(panel.ui) if name.endswith("StatusLabel") or name == "setupLabel"]
    # Else a label without tags would show the signs of the escape.
    assert {getattr(panel.ui, name).textFormat for name in escaped} == {1}
