"""Names of structures on Fine-tune: matched and changed in a small table before anything is checked or trained."""

from pathlib import Path

import numpy as np
import pytest
from case_tools import found_in
from fake_backend import fake_backend
from logic_tools import add_cases, read_json
from panel_tools import cells, open_panel, wait

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
import SimpleITK as sitk


@pytest.fixture
def panel(monkeypatch, tmp_path, slicer, scene, open_module):
    return open_panel(monkeypatch, tmp_path, open_module, fake_backend(tmp_path / "module")[0]).panel


def add_nameless_folder(panel, folder):
    """A case of two structures that have values, but no names."""
    labels = np.zeros((16, 16, 16), np.uint8)
    labels[4:8], labels[9:12] = 1, 2
    (folder / "in").mkdir()
    sitk.WriteImage(sitk.GetImageFromArray(labels.astype(np.float32) * 50), str(folder / "in" / "a.nii.gz"))
    sitk.WriteImage(sitk.GetImageFromArray(labels), str(folder / "in" / "a_seg.nii.gz"))
    panel.logic.cases.addFromFolder(str(folder / "in"), found_in(folder / "in"))
    panel.finetuneTab.cases.show()


def test_structures_of_a_folder_without_names_are_matched_with_those_of_the_scene(panel, scene, tmp_path):
    add_cases(panel.logic, scene, 2)
    add_nameless_folder(panel, tmp_path)
    table = panel.ui.structuresTable
    assert cells(table) == [["Kern", "2"], ["Structure 1", "1"], ["Structure 2", "1"]]
    table.item(1, 0).setText("Kern")
    assert wait(lambda: cells(table) == [["Kern", "3"], ["Structure 2", "1"]])
    table.item(1, 0).setText("Rest  of it")
    assert wait(lambda: cells(table) == [["Kern", "3"], ["Rest of it", "1"]])
    cases, labels = panel.logic.cases.writeTrainingList(str(tmp_path / "list"))
    names = {entry["value"]: entry["name"] for entry in read_json(labels)}
    assert sorted(names.values()) == ["Kern", "Rest of it"]
    for entry in read_json(cases):
        assert set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(entry["label"])))) - {0} <= set(names)
    third = sitk.GetArrayFromImage(sitk.ReadImage(read_json(cases)[2]["label"]))
    assert names[third[5, 5, 5]] == "Kern"
    assert names[third[10, 5, 5]] == "Rest of it"


def test_an_empty_name_is_refused_and_the_old_one_shown_again(panel, scene):
    add_cases(panel.logic, scene, 1)
    panel.finetuneTab.cases.show()
    panel.ui.structuresTable.item(0, 0).setText("  ")
    assert wait(lambda: cells(panel.ui.structuresTable) == [["Kern", "1"]])
    assert "needs a name" in panel.ui.finetuneStatusLabel.text


def test_structures_are_merged_in_all_cases_or_in_none_and_the_table_shows_what_is_so(panel, scene, tmp_path):
    add_cases(panel.logic, scene, 1)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        add_nameless_folder(panel, tmp_path / name)
    cases, table = panel.logic.cases, panel.ui.structuresTable
    kept, lost = (Path(cases.path(entry["label"])) for entry in cases.entries()[1:])
    before = kept.read_bytes(), cells(table)
    lost.unlink()
    table.item(1, 0).setText("Kern")
    assert wait(lambda: lost.name in panel.ui.finetuneStatusLabel.text, 20)
    assert (kept.read_bytes(), cells(table)) == before


def test_what_nobody_foresaw_is_told_and_the_table_shows_what_is_so(panel, scene, monkeypatch):
    add_cases(panel.logic, scene, 1)
    panel.finetuneTab.cases.show()
    monkeypatch.setattr(panel.logic.cases, "rename", lambda old, new: {}[old])
    panel.ui.structuresTable.item(0, 0).setText("Rest")
    assert wait(lambda: "This could not be done" in panel.ui.finetuneStatusLabel.text, 20)
    assert cells(panel.ui.structuresTable) == [["Kern", "1"]]


def test_names_cannot_be_changed_while_a_training_reads_the_labels(panel, scene):
    add_cases(panel.logic, scene, 2)
    panel.finetuneTab.cases.show()
    assert panel.ui.structuresTable.enabled
    panel.ui.finetuneButton.click()
    assert wait(lambda: not panel.ui.structuresTable.enabled)
    panel.logic.cancel()
    assert wait(lambda: panel.ui.structuresTable.enabled)
