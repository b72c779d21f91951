"""The panel in a language whose words are a third longer, at Slicer's narrowest dock, in light and dark."""

import pytest
from fake_backend import fake_backend
from harness import inside_slicer
from panel_tools import TABS, open_panel, show

pytestmark = pytest.mark.skipif(inside_slicer.running(), reason="draws with the stand-in's Qt")

NARROW = 400
TEXTS = ("QPushButton", "QCheckBox", "QLabel", "ctkCollapsibleButton")


def longer(text):
    """A text that is a third longer, with words that can be wrapped."""
    words, missing = text.split(" "), max(1, len(text) // 3)
    while missing > 0:
        words.append("xxxxxxxx"[: min(8, missing)])
        missing -= 9
    return " ".join(words)


@pytest.fixture
def opened(monkeypatch, tmp_path, slicer, scene, open_module):
    widget = open_panel(monkeypatch, tmp_path, open_module, fake_backend(tmp_path / "module")[0])
    for child in vars(widget.panel.ui).values():
        kind = child.className() if hasattr(child, "className") else ""
        if kind in TEXTS and child.text and "<" not in child.text:
            child.text = longer(child.text)
    return widget


def cut(widget):
    """True if a shown widget has less room than its text needs."""
    if widget.className() == "QLabel" and widget.wordWrap:
        return widget.height < widget.heightForWidth(widget.width)
    return widget.width < widget.minimumSizeHint.width()


@pytest.mark.parametrize("tab", TABS)
def test_no_text_that_is_a_third_longer_is_cut_in_the_narrowest_dock(opened, tab, tmp_path):
    import harness

    panel = opened.panel
    show(panel, tab)
    for name in ("rankSectionButton", "resultButton", "optionsButton", "exportButton2", "pythonButton"):
        if hasattr(panel.ui, name):
            getattr(panel.ui, name).collapsed = False
    native = opened.parent._qt
    harness.screenshot(opened.parent, tmp_path / "narrow.png", NARROW)
    assert native.width() == NARROW, native.minimumSizeHint().width()
    shown = [
        (name, widget)
        for name, widget in vars(panel.ui).items()
        if hasattr(widget, "className") and widget.className() in TEXTS and widget.isVisibleTo(panel.ui.MIMSegment)
    ]
    assert len(shown) > 5
    assert [name for name, widget in shown if cut(widget)] == []


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_stands_out_from_its_background(opened, dark, tmp_path):
    """Colors are the theme's: on a dark palette nothing keeps a light background or a dark text."""
    import harness
    from PySide6 import QtGui, QtWidgets

    application = QtWidgets.QApplication.instance()
    before = application.palette()
    if dark:
        palette = QtGui.QPalette(QtGui.QColor(50, 50, 50))
        application.setPalette(palette)
    try:
        for tab in TABS:
            show(opened.panel, tab)
            path = tmp_path / f"{tab}.png"
            harness.screenshot(opened.parent, path, NARROW)
            image = QtGui.QImage(str(path))
            lights = [
                image.pixelColor(x, y).lightness() for x in range(0, NARROW, 7) for y in range(0, image.height(), 7)
            ]
            middle = sorted(lights)[len(lights) // 2]
            assert (middle < 100) == dark
    finally:
        application.setPalette(before)
    for name, widget in vars(opened.panel.ui).items():
        if hasattr(widget, "styleSheet"):
            assert widget.styleSheet == "", name
