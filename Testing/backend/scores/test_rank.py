"""`mimseg rank`: the numbers of doubt, the choice of cases, the views, and the outliers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_model import write_tiny_bundle

from mimseg.bundle.locations import shipped_folder
from mimseg.bundle.reader import open_bundle
from mimseg.commands.rank.domain import FEWEST_CASES, odd_ones
from mimseg.commands.rank.members import PLAIN, VIEWS, probabilities_of, views_of
from mimseg.commands.rank.scores import Members, entropy_of
from mimseg.commands.rank.selection import nearest_distances, propose
from mimseg.data.preprocessing import prepare
from mimseg.data.volume import Grid, Volume
from mimseg.inference.engines import open_engine
from mimseg.inference.features import FeatureEngine, find_tokens

SIZE = (6, 6, 6)


def answer(structure: float, where: slice = slice(2, 4), size: tuple[int, int, int] = SIZE) -> np.ndarray:
    """Two classes: `structure` is its probability in a block, elsewhere background is certain."""
    inside = np.zeros(size, np.float32)
    inside[where, 2:4, 2:4] = structure
    return np.stack([1 - inside, inside])


def doubt_of(*answers: np.ndarray, multilabel: bool = False):
    members = Members(multilabel)
    for probabilities in answers:
        members.add(probabilities.copy())
    doubt, _, entropy = members.judge()
    return doubt, entropy


def test_a_certain_answer_has_no_doubt_and_a_single_one_no_disagreement():
    doubt, entropy = doubt_of(answer(1.0))
    assert doubt.uncertainty == 0
    assert doubt.disagreement is None
    assert doubt.voxels == 8
    assert entropy.max() == pytest.approx(0, abs=1e-5)


def test_uncertainty_is_what_lacks_to_certainty_inside_the_structures():
    doubt, entropy = doubt_of(answer(0.8))
    assert doubt.uncertainty == pytest.approx(0.2)
    bits = -(0.8 * np.log2(0.8) + 0.2 * np.log2(0.2))
    assert entropy[2, 2, 2] == pytest.approx(bits, abs=1e-5)
    # The block and the three voxels around it fill the whole volume.
    assert doubt.entropy == pytest.approx(bits * 8 / 216, abs=1e-5)


def test_where_nothing_is_found_doubt_is_greatest():
    doubt, _ = doubt_of(answer(0.2))
    assert (doubt.uncertainty, doubt.voxels) == (1.0, 0)


def test_members_that_contradict_each_other_disagree():
    agreeing, _ = doubt_of(answer(0.9), answer(0.9))
    assert agreeing.disagreement == 0
    # Half of either block is the other's: Dice 0.5.
    apart, entropy = doubt_of(answer(1.0, slice(1, 3)), answer(1.0, slice(2, 4)))
    assert apart.disagreement == pytest.approx(0.5)
    assert entropy[1, 2, 2] == pytest.approx(1, abs=1e-5)
    three, _ = doubt_of(answer(1.0, slice(1, 3)), answer(1.0, slice(1, 3)), answer(1.0, slice(2, 4)))
    assert three.disagreement == pytest.approx((0 + 0.5 + 0.5) / 3)


def test_independent_channels_are_judged_one_by_one():
    block = answer(0.9)[1]
    doubt, entropy = doubt_of(np.stack([block, np.zeros_like(block)]), multilabel=True)
    assert doubt.uncertainty == pytest.approx(0.1)
    assert doubt.voxels == 8
    assert 0.2 < entropy[2, 2, 2] < 0.3  # one of two channels has 0.47 bits


def test_entropy_is_a_share_of_the_largest_one():
    assert entropy_of(np.full((4, 1, 1, 1), 0.25, np.float32)).item() == pytest.approx(1)
    assert entropy_of(np.full((3, 1, 1, 1), 0.5, np.float32), multilabel=True).item() == pytest.approx(1)


@pytest.mark.parametrize("size", [(20, 13, 16), (9, 11, 31)])
def test_views_come_back_to_where_the_scan_lies(tmp_path: Path, size: tuple[int, int, int]):
    # The network looks at single voxels, so shifts and mirrors must not change anything.
    bundle = open_bundle(write_tiny_bundle(tmp_path / "tiny"))
    engine = open_engine(bundle, "cpu", "openvino", 1)
    array = np.random.default_rng(0).uniform(0, 100, size).astype(np.float32)
    prepared = prepare(Volume(array, Grid(size)), bundle.description.preprocessing)
    before = prepared.array.copy()
    plain = probabilities_of(PLAIN, prepared, bundle.description, engine)
    for view in VIEWS:
        seen = probabilities_of(view, prepared, bundle.description, engine)
        assert seen.shape == (3, *prepared.array.shape[1:])
        if view.shifted or view.mirrored:
            np.testing.assert_allclose(seen, plain, atol=1e-5)
        elif view is not PLAIN:
            assert np.abs(seen - plain).max() > 0.05, f"{view.name} changes nothing"
    np.testing.assert_array_equal(prepared.array, before)


def test_only_models_trained_with_mirrored_scans_see_them(tmp_path: Path):
    plain = open_bundle(write_tiny_bundle(tmp_path / "a")).description
    training = {"finetuning": {"augmentation": {"flip_left_right": True}}}
    mirrored = open_bundle(write_tiny_bundle(tmp_path / "b", training=training)).description
    assert not any(view.mirrored for view in views_of(plain))
    assert any(view.mirrored for view in views_of(mirrored))


def test_the_most_uncertain_case_comes_first_and_then_what_is_unlike_it():
    uncertainty = [0.1, 0.9, 0.8, 0.7, 0.2, 0.0]
    features = np.array([[9.0], [0.0], [0.1], [5.0], [9.0], [9.0]])
    assert propose(uncertainty, features, None, [False] * 6, 2) == [1, 3]
    # What is labelled already need not be labelled again.
    assert propose(uncertainty, features, np.array([[5.0]]), [False] * 6, 3) == [1, 2, 3]
    # Doubtful cases only where the others do not suffice.
    doubtful = [False, True, False, False, False, False]
    assert propose(uncertainty, features, None, doubtful, 2) == [2, 3]
    assert set(propose(uncertainty, features, None, doubtful, 6)) == set(range(6))
    assert propose(uncertainty, features, None, doubtful, 6)[-1] == 1
    assert len(propose(uncertainty, features, None, [False] * 6, 20)) == 6


def test_equal_features_do_not_choose_a_case_twice():
    assert sorted(propose([0.5] * 4, np.zeros((4, 2)), None, [False] * 4, 4)) == [0, 1, 2, 3]


def test_distances_are_to_labelled_cases_or_else_to_the_nearest_other_one():
    features = np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])
    assert nearest_distances(features, None) == pytest.approx([5, 1, 1])
    assert nearest_distances(features, np.zeros((1, 2))) == pytest.approx([0, 5, 34**0.5])
    assert nearest_distances(features[:1], None) is None


def test_cases_far_more_uncertain_than_most_are_odd():
    usual = list(np.random.default_rng(0).normal(0.1, 0.01, 20))
    told = odd_ones([*usual, 0.3, 0.3])
    assert [text is not None for text in told] == [False] * 20 + [True] * 2
    assert "(0.30)" in str(told[-1])
    assert odd_ones([*usual[: FEWEST_CASES - 2], 0.3]) == [None] * (FEWEST_CASES - 1)
    # Among cases that are all alike a small difference is none.
    assert odd_ones([0.1] * 20 + [0.11, 0.13])[:21] == [None] * 21
    assert odd_ones([0.1] * 20 + [0.11, 0.13])[21] is not None


def test_the_encoders_last_tokens_are_found_by_shape():
    openvino = pytest.importorskip("openvino")
    bundle = open_bundle(shipped_folder() / "hippocampus-mr")
    network = openvino.Core().read_model(bundle.onnx_path)
    shape = network.input(0).partial_shape
    shape[0] = 1
    network.reshape(shape)
    found = find_tokens(network, 175, 192)
    # Nothing of the encoder follows: it is turned into a volume and goes to the decoder.
    following = {target.get_node().get_type_name() for target in found.get_target_inputs()}
    assert following == {"Transpose"}
    assert find_tokens(network, 175, 193) is None
    assert find_tokens(network, 174, 192) is None


def test_features_come_beside_the_same_logits():
    pytest.importorskip("openvino")
    bundle = open_bundle(shipped_folder() / "hippocampus-mr")
    engine, plain = FeatureEngine(bundle, 1), open_engine(bundle, "cpu", "openvino", 1)
    batch = np.random.default_rng(0).normal(0, 1, (2, 1, 40, 56, 40)).astype(np.float32)
    np.testing.assert_allclose(engine(batch), plain(batch), atol=2e-3)
    both = engine.take()
    engine(batch[:1])
    first = engine.take()
    engine(batch[1:])
    np.testing.assert_allclose((first + engine.take()) / 2, both, atol=1e-4)
    assert both.shape == (192,)
    assert np.linalg.norm(both) > 0.1
    assert not engine.take().any()
