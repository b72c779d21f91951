"""Draw each tab of the panel, outside of Slicer: `python Testing/module/make_screenshots.py [FOLDER]`.

The panel is the real one, with the real backend, the demo volume and the shipped model; Qt draws it offscreen with its
own style instead of Slicer's.
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
for folder in (HERE, ROOT / "MIMSegment", ROOT / "Testing" / "backend", ROOT / "backend" / "src"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

WIDTH = 430
DEMO_VOLUME = ROOT / "Resources" / "SampleData" / "MNI152_temporal_lobes_T1.nii.gz"
DEMO_MODEL = "hippocampus-mr"
# Around the left and the right hippocampus, RAS in mm: centers and size.
DEMO_CENTERS = ((-28.0, -20.0, -14.0), (28.0, -20.0, -14.0))
DEMO_SIZE = (36.0, 52.0, 38.0)


def demo_model_is_here():
    """True once the default model lies in Resources/Models."""
    return (ROOT / "Resources" / "Models" / DEMO_MODEL / "segmentation.json").is_file()


def segment_demo(panel):
    """Load the demo volume, put a box around each hippocampus, click Segment; returns volume and result."""
    import slicer
    from panel_tools import run_to_end, show, wait

    show(panel, "segment")
    volume = slicer.util.loadVolume(str(DEMO_VOLUME))
    panel.ui.inputVolumeSelector.setCurrentNode(volume)
    if demo_model_is_here():
        panel.segmentTab.chooseModel(DEMO_MODEL)
    assert wait(lambda: panel.catalog.channels(panel.segmentTab.modelName))
    for center in DEMO_CENTERS:
        panel.ui.addRoiButton.click()
        box = panel.segmentTab.boxes()[-1]
        box.SetCenter(*center)
        box.SetSize(*DEMO_SIZE)
    name, *outcome = run_to_end(panel, panel.ui.segmentButton, 300)
    assert name == "finished", outcome
    return volume, outcome[0]


def draw_tabs(widget, folder):
    """Write one PNG for each tab; returns their paths."""
    import harness
    from panel_tools import TABS, show

    written = []
    for tab in TABS:
        show(widget.panel, tab)
        harness.waitUntil(lambda: False, 0.2)
        path = Path(folder) / f"{tab}.png"
        harness.screenshot(widget.parent, path, WIDTH)
        written.append(path)
    return written


def prepare(widget):
    """Bring the panel into the state that a user sees after the first steps."""
    from panel_tools import wait

    panel = widget.panel
    segment_demo(panel)
    panel.ui.addResultButton.click()
    panel.finetuneTab.status.hint("")
    panel.ui.modelsTable.selectRow(0)
    assert wait(lambda: "Research use" in panel.ui.modelDetailsLabel.text)


def main():
    """Draw into Resources/Screenshots, or where the first argument says."""
    import harness

    harness.install()
    from MIMSegmentLib.Backend import Backend
    from panel_tools import FakeDesktop, wait
    from tiny_model import write_tiny_bundle

    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "Resources" / "Screenshots"
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as parent:
        folder = str(Path(parent) / "mimseg")
        models = Path(folder) / "models"
        models.mkdir(parents=True)
        os.environ["MIMSEG_MODELS"] = str(models)
        if not demo_model_is_here():
            write_tiny_bundle(models / "tiny")
        Backend.dataFolder = staticmethod(lambda: folder)
        import MIMSegmentLib.Widget

        MIMSegmentLib.Widget.Desktop = FakeDesktop
        widget = harness.openModule(ROOT / "MIMSegment" / "MIMSegment.py")
        panel = widget.panel
        assert wait(lambda: panel.catalog.examination and panel.ui.structuresList.count)
        prepare(widget)
        for path in draw_tabs(widget, target):
            sys.stdout.write(f"{path}\n")
        harness.closeModule(widget)
    return 0


if __name__ == "__main__":
    sys.exit(main())
