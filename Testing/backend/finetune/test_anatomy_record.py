"""What a training keeps of the anatomy in its labels: the same however its arrays are turned."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from mimseg.commands.finetune.anatomy import Anatomy, learn_anatomy, one_piece_groups  # noqa: E402
from mimseg.commands.finetune.data import LabelledData  # noqa: E402
from mimseg.data.labels.scheme import IGNORED, LabelScheme  # noqa: E402
from mimseg.data.labels.structures import Label  # noqa: E402
from mimseg.data.preprocessing import Preprocessing  # noqa: E402
from mimseg.training.crops.cache import TrainingCase  # noqa: E402

NAMES = ("one", "two", "three", "four")
LABELS = tuple(Label(10 * number, name, (0, 0, 0)) for number, name in enumerate(NAMES, start=1))


def case(number: int, flipped: bool = False) -> TrainingCase:
    """Blocks of 3 x 2 x 2 voxels at the corners of a tetrahedron that differs a little; RAS, or LAS if flipped."""
    classes = np.zeros((30, 30, 30), np.uint8)
    for index, (i, j, k) in enumerate(((4, 5, 6), (20, 6, 8), (10, 22, 7), (12, 12, 24)), start=1):
        classes[i : i + 3, j + number : j + number + 2, k : k + 2] = index
    classes[0, 0, 0] = IGNORED
    array = torch.from_numpy(classes[::-1].copy() if flipped else classes)
    return TrainingCase(f"case {number}", torch.zeros(1), array, (), None, None, "")


@pytest.mark.parametrize("orientation", ["RAS", "LAS"])
def test_volumes_and_places_of_all_cases(orientation: str) -> None:
    cases = [case(number, orientation == "LAS") for number in range(3)]
    scheme = LabelScheme(LABELS, None)
    record = learn_anatomy(cases, scheme, Preprocessing(orientation, (2.0, 1.0, 1.0))).record
    assert record["volumes_ml"] == {name: {"least": 0.024, "largest": 0.024} for name in NAMES}
    places = {name: list(place.values()) for name, place in record["places_mm"].items()}
    apart = np.array(places["two"]) - np.array(places["one"])
    assert apart == pytest.approx([-32, -1, 2], abs=0.2)  # 16 voxels of 2 mm to the right, 1 to the front, 2 up


def test_overlapping_structures_have_volumes_only() -> None:
    scheme = LabelScheme(LABELS[:2], [(10, 20, 30), (20, 40)])
    cases = [case(number) for number in range(3)]
    record = learn_anatomy(cases, scheme, Preprocessing("RAS", (1.0, 1.0, 1.0))).record
    assert list(record) == ["volumes_ml"]
    assert record["volumes_ml"]["one"]["least"] == 0.036


def test_nothing_is_kept_where_the_spacing_is_not_known() -> None:
    assert learn_anatomy([case(0)], LabelScheme(LABELS, None), Preprocessing("RAS", None)) == Anatomy()


def test_a_case_without_any_structure_tells_nothing_of_their_sizes_and_places() -> None:
    scheme, preprocessing = LabelScheme(LABELS, None), Preprocessing("RAS", (1.0, 1.0, 1.0))
    cases = [case(number) for number in range(3)]
    other = TrainingCase("leg", torch.zeros(1), torch.zeros((30, 30, 30), dtype=torch.uint8), (), None, None, "")
    assert learn_anatomy([*cases, other], scheme, preprocessing) == learn_anatomy(cases, scheme, preprocessing)
    assert learn_anatomy([other], scheme, preprocessing) == Anatomy()


def heads(solid: bool = True) -> list[np.ndarray]:
    """Three maps of eight boxes in a row; the last class is a film of specks around. If not solid, box 3 lies apart."""
    maps = []
    for number in range(3):
        classes = np.zeros((40, 16, 16), np.uint8)
        for index in range(1, 9):
            classes[4 * index : 4 * index + 4, 4:10, 4:10] = index
        classes[4 + number % 2 : 36 : 2, 10, 4:10:2] = 9
        if not solid:
            classes[classes == 3] = 0
            classes[12:15, 13:15, 13:15] = 3
        maps.append(classes)
    return maps


def test_a_brain_is_one_piece_also_without_what_surrounds_it_in_specks() -> None:
    names = [f"part {number}" for number in range(1, 10)]
    groups = one_piece_groups(heads(), names)
    assert groups == (tuple(names[:8]), tuple(names))


def test_organs_that_lie_apart_are_pieces_of_their_own_unless_one_case_shows_two() -> None:
    names = [f"part {number}" for number in range(1, 10)]
    maps = heads(solid=False)
    assert one_piece_groups(maps, names) == tuple((name,) for name in names[:8])
    maps[1][20:24, 4:10, 6:8] = 0  # through the middle of the fifth
    maps[2][maps[2] == 2] = 0  # a case without the second
    assert one_piece_groups(maps, names) == tuple((name,) for name in (*names[:4], *names[5:8]))


def test_a_structure_that_one_case_shows_tells_nothing_of_its_pieces() -> None:
    names = [f"part {number}" for number in range(1, 11)]  # no case shows the tenth
    maps = heads(solid=False)
    for classes in maps[1:]:
        classes[classes == 2] = 0
    assert one_piece_groups(maps, names) == tuple((name,) for name in (names[0], *names[2:8]))


def test_few_structures_may_be_lesions_and_few_cases_do_not_tell() -> None:
    names = [f"part {number}" for number in range(1, 10)]
    assert one_piece_groups(heads()[:2], names) == ()
    assert (
        one_piece_groups([np.where(classes < 8, classes, 0).astype(np.uint8) for classes in heads()], names[:7]) == ()
    )


def test_cases_that_score_do_not_tell_what_is_one_piece() -> None:
    def cases(maps: list[np.ndarray], name: str) -> list[TrainingCase]:
        return [
            TrainingCase(f"{name} {n}", torch.zeros(1), torch.from_numpy(own), (), None, None, "")
            for n, own in enumerate(maps)
        ]

    names = [f"box {n}" for n in range(1, 10)]
    labels = tuple(Label(n, name, (1, 2, 3)) for n, name in enumerate(names, start=1))
    scheme, preprocessing = LabelScheme(labels, None), Preprocessing("RAS", (1.0, 1.0, 1.0))
    training, loose = cases(heads(), "training"), cases(heads(solid=False), "scoring")
    alone = learn_anatomy(training, scheme, preprocessing)
    both = learn_anatomy(training, scheme, preprocessing, loose)
    assert alone.one_piece
    assert both.one_piece == alone.one_piece != learn_anatomy([*training, *loose], scheme, preprocessing).one_piece
    assert both.record == learn_anatomy([*training, *loose], scheme, preprocessing).record
    data = LabelledData(scheme, "MR", preprocessing, training, loose)
    assert data.anatomy == both
