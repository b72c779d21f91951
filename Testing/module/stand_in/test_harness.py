"""The stand-in for Slicer fails on what it does not know, rather than shrugging."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import harness
import pytest

RECORDED = Path(__file__).parents[1] / "recorded" / "widget-api.json"
# Made by other calls, never on their own.
NOT_MADE = {"QDesktopServices"}


@pytest.fixture(autouse=True)
def offered(slicer):
    """Skip where the stand-in cannot run, and in Slicer itself."""
    if harness.inside_slicer.running():
        pytest.skip("this is Slicer")


def recorded_classes():
    return [tuple(name.split(".")) for name in json.loads(RECORDED.read_text(encoding="utf-8"))]


def class_of(module, name):
    return getattr(__import__(module), name)


@pytest.mark.parametrize(("module", "name"), recorded_classes())
def test_names_that_slicer_does_not_have_raise_on_every_class(module, name):
    from harness.pythonqt.api import SPECS

    cls = class_of(module, name)
    if name in NOT_MADE:
        return
    made = cls() if name != "QSizePolicy" else cls(cls.Fixed, cls.Fixed)
    spec = SPECS[name]
    recorded = {*spec.attributes, *spec.properties, *spec.signals, "name", "raise_", "exec_", "print_"}
    only_here = [each for each in dir(type(made._qt)) if not each.startswith("_") and each not in recorded]
    assert [each for each in only_here if hasattr(made, each)] == []
    with pytest.raises(AttributeError, match="has no attribute named"):
        made.surelyNotThere  # noqa: B018
    with pytest.raises(AttributeError, match="new attributes on C\\+\\+ objects is not allowed"):
        made.surelyNotThere = 1


@pytest.mark.parametrize(("module", "name"), recorded_classes())
def test_properties_are_values_and_signals_connect_on_every_class(module, name):
    from harness.errors import NotOffered
    from harness.pythonqt.api import SPECS

    spec = SPECS[name]
    if name in NOT_MADE or name == "QSizePolicy":
        return
    made = class_of(module, name)()
    missing = []
    for each in spec.properties:
        try:
            assert type(getattr(made, each)).__name__ != "builtin_qt_slot" or each == "singleShot"
        except NotOffered:
            missing.append(each)
    assert len(missing) <= 0.25 * len(spec.properties), missing
    gone = []
    for signature in [each for signatures in spec.signals.values() for each in signatures]:
        try:
            assert made.connect(signature, lambda: None) is True
        except NotOffered:
            gone.append(signature)  # using it fails loudly
    assert len(gone) <= 0.35 * sum(len(signatures) for signatures in spec.signals.values()), gone


def test_an_enum_is_read_by_a_process_that_never_named_it():
    read = "import harness.pythonqt.properties\nfrom PySide6 import QtWidgets\napp = QtWidgets.QApplication([])\n"
    read += "print(QtWidgets.QWidget().property('contextMenuPolicy'))"
    done = subprocess.run([sys.executable, "-c", read], cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert "DefaultContextMenu" in done.stdout, done.stderr


def test_a_static_function_that_waits_for_a_user_raises_until_patched(monkeypatch):
    import qt

    with pytest.raises(RuntimeError, match="would wait for a user"):
        qt.QFileDialog.getExistingDirectory(None, "Folder", "")
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *arguments: "/chosen")
    assert qt.QFileDialog.getExistingDirectory(None, "Folder", "") == "/chosen"


def test_a_dialog_that_nothing_closes_fails(monkeypatch):
    import qt
    from harness.widgets import qt_additions

    monkeypatch.setattr(qt_additions, "DIALOG_SECONDS", 0.1)
    dialog = qt.QDialog()
    with pytest.raises(RuntimeError, match="waited"):
        dialog.exec_()


def test_packages_are_installed_by_no_test(slicer):
    import slicer.packaging

    with pytest.raises(RuntimeError, match="injected"):
        slicer.packaging.pip_install("anything")


def test_an_exception_in_a_slot_is_kept_and_does_not_reach_the_emitter():
    import qt

    def fail():
        raise ValueError("lost?")

    harness.exceptions().clear()
    button = qt.QPushButton()
    button.clicked.connect(fail)
    button.click()
    assert [str(error) for error in harness.exceptions()] == ["lost?"]
    harness.exceptions().clear()


def test_an_exception_in_an_observer_is_kept(slicer, scene):
    import vtk

    def fail(caller, event):
        raise ValueError("in an observer")

    node = scene.AddNewNodeByClass("vtkMRMLTextNode")
    tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, fail)
    node.SetText("x")
    node.RemoveObserver(tag)
    assert "in an observer" in str(harness.exceptions())
    harness.exceptions().clear()


def test_a_parameter_of_a_type_that_slicer_cannot_bind_to_a_widget_raises(slicer, scene):
    import ctk
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    @parameterNodeWrapper
    class Folders:
        folder: str = ""

    wrapped = Folders(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    with pytest.raises(RuntimeError, match="Unable to create GUI connector"):
        wrapped.connectParametersToGui({"folder": ctk.ctkPathLineEdit()})


def test_a_node_selector_lists_chooses_and_forgets_nodes(slicer, scene):
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.setMRMLScene(scene)
    first = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "first")
    assert selector.currentNode() is first  # without a "None" entry the first node is chosen
    second = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "second")
    selector.setCurrentNode(second)
    scene.RemoveNode(second)
    assert selector.currentNode() is first
    scene.Clear(0)
    assert selector.currentNode() is None


def test_a_node_selector_jumps_to_the_neighbour_of_a_deleted_node(slicer, scene):
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.noneEnabled = True
    selector.setMRMLScene(scene)
    first, second, third = (scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name) for name in "ABC")
    selector.setCurrentNode(second)
    scene.RemoveNode(second)
    assert selector.currentNode() is third
    scene.RemoveNode(third)
    assert selector.currentNode() is first
    scene.RemoveNode(first)
    assert selector.currentNode() is None


def test_data_nodes_appear_in_the_subject_hierarchy(slicer, scene):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "result")
    assert hierarchy.GetItemName(hierarchy.GetItemByDataNode(node)) == "result"
