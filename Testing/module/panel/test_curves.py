"""The live curves: axes that follow, one chart for a resumed training, points that outlive a scene, the layout."""

import pytest
from fake_backend import fake_backend
from logic_tools import add_cases, wait_until
from panel_tools import open_panel, wait

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
import slicer
from MIMSegmentLib.Panel.Desktop import Desktop
from MIMSegmentLib.Scene.Curves import MOST_POINTS, Curves

LOG = "step,seconds,name,value\n10,,loss,0.9\n20,1.0,validation_dice,0.92\n30,,loss,0.4\n"


def drawn(chart):
    """The points in the scene, by the title of their curve."""
    series = [chart.GetNthPlotSeriesNode(number) for number in range(chart.GetNumberOfPlotSeriesNodes())]
    tables = {node.GetName(): node.GetTableNode().GetTable() for node in series}
    return {
        name: [tuple(table.GetValue(row, column).ToDouble() for column in (0, 1)) for row in range(rows)]
        for name, table in tables.items()
        for rows in [table.GetNumberOfRows()]
    }


def test_the_axes_follow_the_points(scene):
    curves = Curves(scene, "T")
    curves.begin("m")
    for step, value in ((10, 2.0), (200, 0.5)):
        curves.add("loss", step, value)
    curves.add("validation_dice", 400, 0.7)
    curves.draw()
    assert not curves.chart.GetXAxisRangeAuto()
    assert not curves.chart.GetYAxisRangeAuto()
    assert curves.chart.GetXAxisRange() == (0.0, 400.0)
    assert curves.chart.GetYAxisRange() == pytest.approx((0.0, 2.1))


def test_a_resumed_training_goes_on_in_its_chart_and_another_one_gets_its_own(scene):
    curves = Curves(scene, "T")
    curves.begin("m")
    chart = curves.chart
    curves.add("loss", 10, 2.0)
    curves.begin("m", resumed=True)
    assert curves.chart is chart
    curves.add("loss", 10, 2.0)
    curves.add("loss", 20, 1.0)
    curves.draw()
    assert drawn(chart) == {"Loss": [(10.0, 2.0), (20.0, 1.0)]}
    curves.begin("other")
    assert curves.chart is not chart


def test_many_points_are_drawn_together_and_thinned(scene):
    curves = Curves(scene, "T")
    curves.begin("m")
    changes = []
    tag = scene.AddObserver(scene.NodeAddedEvent, lambda *_values: changes.append("node"))
    curves.chart.AddObserver("ModifiedEvent", lambda *_values: changes.append("chart"))
    for step in range(1, 10001):
        curves.add("loss", step, 1.0 / step)
        curves.add("validation_loss", step, 2.0)
    assert changes == []
    curves.draw()
    scene.RemoveObserver(tag)
    assert len(changes) < 20
    tables = [curves.chart.GetNthPlotSeriesNode(number).GetTableNode() for number in range(2)]
    for table in tables:
        table.AddObserver("ModifiedEvent", lambda *_values: changes.append("table"))
    points = drawn(curves.chart)["Loss"]
    assert len(points) <= MOST_POINTS + 1
    assert points[0] == (1.0, 1.0)
    assert points[-1] == (10000.0, 0.0001)
    assert len(curves.points("loss")) == 10000
    changes.clear()
    for step in range(10001, 12001):
        curves.add("loss", step, 0.5)
    curves.draw()
    assert len(changes) < 20
    assert drawn(curves.chart)["Loss"][-1] == (12000.0, 0.5)
    assert curves.chart.GetXAxisRange() == (0.0, 12000.0)


def test_points_come_into_the_chart_by_themselves_unless_it_was_deleted(scene):
    curves = Curves(scene, "T")
    curves.begin("m")
    curves.add("loss", 10, 2.0)
    assert wait(lambda: drawn(curves.chart) == {"Loss": [(10.0, 2.0)]}, 20)
    curves.add("loss", 20, 1.0)
    scene.RemoveNode(curves.chart)
    curves.draw()
    curves.begin("m", resumed=True)
    assert curves.chart.GetScene() is scene


@pytest.fixture
def panel(monkeypatch, tmp_path, slicer, scene, open_module):
    backend, _mode = fake_backend(tmp_path / "module")
    return open_panel(monkeypatch, tmp_path, open_module, backend).panel


def start(panel, scene):
    """Start a training that waits after its first scores."""
    add_cases(panel.logic, scene, 2)
    panel.finetuneTab.cases.show()
    panel.ui.newModelNameEdit.text = "Kern"
    panel.ui.finetuneButton.click()
    assert wait(lambda: panel.finetuneTab.curves.points("validation_dice"))


def test_closing_the_scene_while_training_keeps_the_curve(panel, scene):
    start(panel, scene)
    before = panel.finetuneTab.curves.points("loss")
    assert len(before) == 3
    scene.Clear(0)
    chart = panel.finetuneTab.curves.chart
    assert chart.GetScene() is scene
    assert drawn(chart)["Loss"] == before
    panel.logic.cancel()
    assert wait_until(lambda: not panel.logic.running)


def test_resuming_shows_the_curve_so_far_and_remembers_the_best(panel, scene, tmp_path):
    start(panel, scene)
    panel.ui.resumeFinetuneButton.click()
    assert wait(lambda: not panel.logic.running)
    # As after a restart of Slicer: what was measured is known from the training's folder only.
    panel.finetuneTab.curves.forget()
    (tmp_path / "models ä" / "kern.training" / "log.csv").write_text(LOG)
    panel.ui.resumeFinetuneButton.click()
    assert panel.finetuneTab.curves.points("validation_dice")[0] == (20.0, 0.92)
    assert wait(lambda: len(panel.finetuneTab.curves.points("validation_dice")) == 2)
    assert wait(lambda: "0.50 (best 0.92)" in panel.ui.finetuneStatusLabel.text)
    panel.logic.cancel()
    assert wait_until(lambda: not panel.logic.running)


def test_the_users_layout_comes_back_when_a_training_ends(panel, scene):
    start(panel, scene)
    chart = panel.finetuneTab.curves.chart
    assert panel.desktop.done == [("showChart", chart)]
    panel.logic.cancel()
    assert wait_until(lambda: not panel.logic.running)
    assert panel.desktop.done[1:] == [("hideChart",)]


def test_the_layout_with_the_chart_gives_way_to_the_users_own(scene):
    layout = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    own = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
    layout.SetViewArrangement(own)
    curves = Curves(scene, "T")
    curves.begin("m")
    desktop = Desktop()
    assert not desktop.hideChart()
    desktop.showChart(curves.chart)
    with_chart = layout.GetViewArrangement()
    assert with_chart != own
    assert desktop.hideChart()
    assert layout.GetViewArrangement() == own
    assert not desktop.hideChart()
    # What the user chose meanwhile stays.
    desktop.showChart(curves.chart)
    layout.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    assert not desktop.hideChart()
    assert layout.GetViewArrangement() == slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
