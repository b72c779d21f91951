"""Every tab can be drawn, nothing is cut off in a narrow panel, every control explains itself."""

import re
from pathlib import Path

import pytest
from fake_backend import fake_backend
from harness import inside_slicer
from make_screenshots import LABEL_NEXT, ROOT, WIDTH, draw_label_next, draw_tabs
from panel_tools import TABS, open_panel, show, wait

NARROW = 400
only_drawn_here = pytest.mark.skipif(inside_slicer.running(), reason="looks at the stand-in's Qt")
INTERACTIVE = (
    "QPushButton",
    "QCheckBox",
    "QComboBox",
    "QLineEdit",
    "QSpinBox",
    "QTableWidget",
    "QListWidget",
    "ctkPathLineEdit",
    "qMRMLNodeComboBox",
    "qMRMLCheckableNodeComboBox",
)


@pytest.fixture
def opened(monkeypatch, tmp_path, slicer, scene, open_module):
    return open_panel(monkeypatch, tmp_path, open_module, fake_backend(tmp_path / "module")[0])


def visible_widgets(panel, kinds):
    """The widgets of some classes that the shown tab shows."""
    for name, widget in sorted(vars(panel.ui).items()):
        offered = not name.startswith("qt_") and hasattr(widget, "isVisibleTo") and widget.className() in kinds
        if offered and widget.isVisibleTo(panel.ui.MIMSegment):
            yield name, widget


def png_size(path):
    """Width and height of a PNG file."""
    head = path.read_bytes()[:24]
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


@only_drawn_here
def test_every_tab_is_drawn_at_the_width_of_slicers_panel(opened, tmp_path):
    heights = {}
    for path in draw_tabs(opened, tmp_path):
        width, heights[path.stem] = png_size(path)
        assert width == WIDTH
        assert len(set(path.read_bytes())) > 50
    assert tuple(heights) == TABS
    # A tab with little in it is not as high as the highest one.
    assert heights["computer"] < heights["pretrain"] < heights["finetune"] - 100


def test_the_ranking_is_drawn_alone(opened, tmp_path):
    finetune = draw_tabs(opened, tmp_path)[1]
    alone = draw_label_next(opened, tmp_path)
    assert png_size(alone)[1] < png_size(finetune)[1]
    assert not opened.panel.ui.casesButton.collapsed


@only_drawn_here
@pytest.mark.parametrize("tab", TABS)
def test_nothing_is_cut_off_in_a_narrow_panel(opened, tab, tmp_path):
    import harness

    panel = opened.panel
    show(panel, tab)
    if tab == "finetune":
        panel.ui.rankSectionButton.collapsed = False
    native = opened.parent._qt
    assert native.minimumSizeHint().width() <= NARROW
    harness.screenshot(opened.parent, tmp_path / "narrow.png", NARROW)
    for name, widget in visible_widgets(panel, ("QPushButton", "QCheckBox", "QLabel", "ctkCollapsibleButton")):
        if widget.className() == "QLabel" and widget.wordWrap:
            wanted = widget.heightForWidth(widget.width)
            assert widget.height >= wanted, name
        else:
            assert widget.width >= widget.minimumSizeHint.width(), name


def test_every_control_has_a_tool_tip(opened):
    missing = []
    for tab in TABS:
        show(opened.panel, tab)
        missing += [name for name, widget in visible_widgets(opened.panel, INTERACTIVE) if not widget.toolTip]
    assert missing == []


def test_texts_in_the_ui_file_need_no_styling_and_can_be_translated():
    text = (ROOT / "MIMSegment" / "Resources" / "UI" / "MIMSegment.ui").read_text(encoding="utf-8")
    assert "styleSheet" not in text
    assert not re.findall(r"<string>[^<]*[Cc]olour", text)
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "MIMSegment").rglob("*.py")]
    assert not any("setStyleSheet" in source or "styleSheet" in source for source in sources)


def test_every_selector_of_nodes_gets_the_scene(opened, scene):
    for name, widget in vars(opened.panel.ui).items():
        if hasattr(widget, "className") and widget.className().startswith("qMRML"):
            assert widget.mrmlScene() is scene, name


def test_every_bound_widget_names_a_parameter(slicer):
    from MIMSegmentLib.Parameters import Parameters

    text = (ROOT / "MIMSegment" / "Resources" / "UI" / "MIMSegment.ui").read_text(encoding="utf-8")
    names = re.findall(r'name="SlicerParameterName" stdset="0">\s*<string>(\w+)</string>', text)
    assert len(names) > 8
    assert set(names) <= set(Parameters.allParameters)


@pytest.mark.parametrize("tab", [*TABS, LABEL_NEXT])
def test_the_screenshots_of_the_repository_are_there(tab):
    path = Path(ROOT) / "Resources" / "Screenshots" / f"{tab}.png"
    assert path.is_file(), "run python Testing/module/make_screenshots.py"
    assert png_size(path)[0] == WIDTH


@only_drawn_here
def test_the_panel_stays_as_wide_while_the_longest_texts_are_shown(opened):
    panel = opened.panel
    long = "A_very_long_name_without_any_space_" * 4
    panel.segmentTab.status.fail(f"The file {long} cannot be read.", "Choose another.")
    panel.ui.modelCardLabel.text = long
    panel.ui.segmentDeviceLabel.text = f"Will run on: {long}"
    assert wait(lambda: opened.parent._qt.minimumSizeHint().width() <= NARROW, 2)
