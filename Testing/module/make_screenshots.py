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
for folder in (HERE, ROOT / "MIMSegment", ROOT / "Testing" / "backend" / "tools", ROOT / "backend" / "src"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

WIDTH = 430
# Seconds for one run, on a busy computer.
WAIT = 3000
# Seconds until the panel is as high as what it shows, likewise.
SETTLE = 2
LABEL_NEXT = "label-next"
DEMO_VOLUME = ROOT / "Resources" / "SampleData" / "MNI152_T1.nii.gz"
DEMO_MODEL = "hippocampus-mr"
# Around the left and the right hippocampus, RAS in mm: centers and size.
DEMO_CENTERS = ((-28.0, -20.0, -14.0), (28.0, -20.0, -14.0))
DEMO_SIZE = (36.0, 52.0, 38.0)


def demo_model_is_here():
    """True once the default model lies in Resources/Models."""
    return (ROOT / "Resources" / "Models" / DEMO_MODEL / "segmentation.json").is_file()


def segment_demo(panel):
    """Load the demo volume and click Segment; returns volume and result. The model finds both hippocampi by itself."""
    import slicer
    from panel_tools import run_to_end, show, wait

    show(panel, "segment")
    volume = slicer.util.loadVolume(str(DEMO_VOLUME))
    panel.ui.inputVolumeSelector.setCurrentNode(volume)
    if demo_model_is_here():
        panel.segmentTab.chooseModel(DEMO_MODEL)
    assert wait(lambda: panel.catalog.channels(panel.segmentTab.modelName), WAIT)
    name, *outcome = run_to_end(panel, panel.ui.segmentButton, WAIT)
    assert name == "finished", outcome
    return volume, outcome[0]


def draw_tabs(widget, folder, settle=0.2):
    """Write one PNG for each tab; returns their paths."""
    from panel_tools import TABS, show

    written = []
    for tab in TABS:
        show(widget.panel, tab)
        written.append(draw(widget, Path(folder) / f"{tab}.png", settle))
    return written


def draw(widget, path, settle=0.2):
    """Write the panel into a PNG, `settle` seconds after its last change; returns its path."""
    import harness

    harness.waitUntil(lambda: False, settle)
    for _number in range(2):
        # The first one lays the panel out, which may still be as high as the last tab.
        harness.screenshot(widget.parent, path, WIDTH)
    return path


def draw_label_next(widget, folder, settle=0.2):
    """Write a PNG of the section that ranks scans without labels; returns its path."""
    from panel_tools import show

    ui = widget.panel.ui
    show(widget.panel, "finetune")
    sections = (ui.casesButton, ui.newModelButton, ui.trainButton)
    for section in sections:
        section.collapsed = True
    ui.rankSectionButton.collapsed = False
    path = draw(widget, Path(folder) / f"{LABEL_NEXT}.png", settle)
    ui.rankSectionButton.collapsed = True
    for section in sections:
        section.collapsed = False
    return path


def prepare(widget, folder):
    """Bring the panel into the state that a user sees after the first steps, all of it by the real backend."""
    from panel_tools import run_to_end, wait

    panel = widget.panel
    segment_demo(panel)
    if demo_model_is_here():
        write_scans(Path(folder))
        panel.ui.unlabeledFolderEdit.currentPath = str(folder)
        # The first of the list is a model of CT.
        panel.ui.rankModelSelector.setCurrentIndex(panel.ui.rankModelSelector.findData(DEMO_MODEL))
        name, *outcome = run_to_end(panel, panel.ui.rankButton, WAIT)
        assert name == "finished", outcome
        panel.ui.unlabeledFolderEdit.currentPath = "scans without labels"
    for _number in range(3):
        panel.ui.addResultButton.click()
    panel.ui.newModelNameEdit.text = "my-hippocampus"
    panel.ui.foldsCheckBox.checked = True
    panel.ui.compareCheckBox.checked = True
    name, *outcome = run_to_end(panel, panel.ui.checkButton, WAIT)
    assert name == "finished", outcome
    name, *outcome = run_to_end(panel, panel.ui.planButton, WAIT)
    assert name == "finished", outcome
    panel.ui.modelsTable.selectRow(0)
    assert wait(lambda: "Research use" in panel.ui.modelDetailsLabel.text, WAIT)


def write_scans(folder):
    """Cut the demo volume into scans of one hippocampus each, one of them noisy, for a ranking."""
    import SimpleITK as sitk

    folder.mkdir(parents=True)
    whole = sitk.Cast(sitk.ReadImage(str(DEMO_VOLUME)), sitk.sitkFloat32)
    scans = []
    for x, y, z in DEMO_CENTERS:
        half = [edge / 2 for edge in DEMO_SIZE]
        corners = [
            whole.TransformPhysicalPointToIndex((-x + side * half[0], -y + side * half[1], z + side * half[2]))
            for side in (-1, 1)
        ]
        low, high = ([pick(pair) for pair in zip(*corners, strict=True)] for pick in (min, max))
        scans.append(sitk.RegionOfInterest(whole, [end - start for start, end in zip(low, high, strict=True)], low))
    spread = float(sitk.GetArrayViewFromImage(scans[0]).std())
    scans.append(sitk.AdditiveGaussianNoise(scans[0], 1.5 * spread, 0.0, 1))
    for number, scan in enumerate(scans, start=1):
        sitk.WriteImage(scan, str(folder / f"patient-{number}.nii.gz"))


def main():
    """Draw into Resources/Screenshots, or where the first argument says."""
    import harness

    harness.install()
    from MIMSegmentLib.Process.Backend import Backend
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
        import MIMSegmentLib.Panel.Widget

        MIMSegmentLib.Panel.Widget.Desktop = FakeDesktop
        widget = harness.openModule(ROOT / "MIMSegment" / "MIMSegment.py")
        panel = widget.panel
        assert wait(lambda: panel.catalog.examination and panel.ui.structuresList.count, WAIT)
        prepare(widget, Path(parent) / "scans")
        # A folder of a user's, not the temporary one.
        panel.ui.modelsFolderLabel.text = "Your models: ~/.local/share/mimseg/models"
        for path in (*draw_tabs(widget, target, SETTLE), draw_label_next(widget, target, SETTLE)):
            sys.stdout.write(f"{path}\n")
        harness.closeModule(widget)
    return 0


if __name__ == "__main__":
    sys.exit(main())
