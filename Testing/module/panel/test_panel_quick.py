"""The quick mode on the Segment tab: offered where a model has one, with its measured loss, and passed on."""

import pytest
from fake_backend import fake_backend
from logic_tools import add_volume
from panel_tools import open_panel, run_to_end, wait
from tiny_model import write_tiny_bundle


@pytest.fixture
def panel(monkeypatch, tmp_path, slicer, scene, open_module):
    """The panel with the model `tiny`, which has no quick mode, and `fast`, which has one."""
    from mimseg.bundle.quick_mode import QuickMode

    models = tmp_path / "models ä"
    models.mkdir()
    write_tiny_bundle(models / "tiny")
    quick = QuickMode((2.0, 2.0, 2.0), 0.25, 0.8125, 0.0125, 0.31, 8)
    write_tiny_bundle(models / "fast", name="fast", quick=quick)
    return open_panel(monkeypatch, tmp_path, open_module, fake_backend(tmp_path / "module")[0]).panel


def choose(panel, model, word):
    """Choose a model, and wait for its card to tell something."""
    panel.segmentTab.chooseModel(model)
    assert wait(lambda: panel.catalog.channels(model))
    assert (word in panel.ui.modelCardLabel.text) == (model == "fast")


def test_only_a_model_with_a_quick_mode_offers_it_and_says_what_is_lost(panel):
    choose(panel, "tiny", "Quick mode")
    assert not panel.ui.quickCheckBox.enabled
    assert panel.ui.quickCheckBox.text == "Quick (coarser)"
    assert "no quick mode" in panel.ui.quickCheckBox.toolTip
    choose(panel, "fast", "Quick mode: 2 mm, mean Dice 0.013 lower")
    assert panel.ui.quickCheckBox.enabled
    assert panel.ui.quickCheckBox.text == "Quick (coarser): 2 mm, mean Dice 0.013 lower"
    assert "8 cases: mean Dice 0.812, with 31 % of the windows" in panel.ui.quickCheckBox.toolTip


def test_an_option_that_only_the_parameters_and_the_command_know_is_passed_on(panel, scene, monkeypatch):
    from MIMSegmentLib.Process.Command import SegmentRequest

    asked = []
    real = SegmentRequest.arguments
    monkeypatch.setattr(SegmentRequest, "arguments", lambda request: asked.append(real(request)) or asked[-1])
    panel.ui.inputVolumeSelector.setCurrentNode(add_volume(scene))
    for checked in (False, True):
        panel.ui.reducedPrecisionCheckBox.checked = checked
        run_to_end(panel, panel.ui.segmentButton)
        assert ("--precision" in asked[-1]) == checked


def test_it_is_passed_on_when_it_is_checked_and_the_model_has_it(panel, scene, monkeypatch):
    from MIMSegmentLib.Process.Command import SegmentRequest

    asked = []
    real = SegmentRequest.arguments
    monkeypatch.setattr(SegmentRequest, "arguments", lambda request: asked.append(real(request)) or asked[-1])
    panel.ui.inputVolumeSelector.setCurrentNode(add_volume(scene))
    for model, checked, passed in (("fast", False, False), ("fast", True, True), ("tiny", True, False)):
        choose(panel, model, "Quick mode")
        panel.ui.quickCheckBox.checked = checked
        assert panel.segmentTab.parameters.quick == checked
        name, *_rest = run_to_end(panel, panel.ui.segmentButton)
        assert name == "finished"
        assert ("--quick" in asked.pop()) == passed
