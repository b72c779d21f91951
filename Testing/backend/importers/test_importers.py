"""Networks of MONAI and MIM-Med3D compute the same after their import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")
pytestmark = pytest.mark.train

from foreign_weights import ENCODER, HEADS, WINDOW, as_of, load, mim_med3d, read, save, unetr, vit  # noqa: E402
from monai.networks import nets  # noqa: E402

from mimseg.commands.models.import_weights import converted_network  # noqa: E402
from mimseg.errors import UserError  # noqa: E402
from mimseg.importers import identify  # noqa: E402
from mimseg.importers.checkpoint_file import Checkpoint, read_checkpoint  # noqa: E402
from mimseg.importers.network_shape import ShapeHints, read_shape  # noqa: E402
from mimseg.networks.unetr import UNETR  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training.start.transfer import is_used_in  # noqa: E402


def scans(channels: int = 1) -> Any:
    torch.manual_seed(7)
    return torch.randn(2, channels, *WINDOW)


def difference(ours: Any, theirs: Any) -> float:
    """Largest difference relative to the scale of the values, which is far from 0."""
    assert theirs.std() > 1e-2
    return float((ours - theirs).abs().max() / theirs.std())


@pytest.mark.parametrize("version", ["0.9", "1.5", "1.6"])
@pytest.mark.parametrize("projection", ["conv", "perceptron"])
def test_a_unetr_gives_the_same_logits(tmp_path: Path, version: str, projection: str) -> None:
    theirs = unetr(channels=2, proj_type=projection)
    state = as_of(version, theirs.state_dict())
    assert len(state) == {"0.9": 170, "1.5": 254, "1.6": 194}[version]
    ours, report = load(save(tmp_path / "unetr.pt", {"model": state}))
    with torch.no_grad():
        assert difference(ours(scans(2)), theirs(scans(2))) < 1e-4
    assert report.encoder_counts == (137, 137)
    assert not report.missing
    assert not report.random


@pytest.mark.parametrize("version", ["0.9", "1.5", "1.6"])
@pytest.mark.parametrize("projection", ["conv", "perceptron"])
@pytest.mark.parametrize("kind", ["ViT", "ViTAutoEnc", "classifier"])
def test_a_vit_gives_the_same_states_after_every_block(
    tmp_path: Path, kind: str, version: str, projection: str
) -> None:
    if kind == "classifier":
        theirs = vit(proj_type=projection, classification=True)
    else:
        theirs = vit(getattr(nets, kind), proj_type=projection)
    ours, report = load(save(tmp_path / "vit.pth", as_of(version, theirs.state_dict())))
    with torch.no_grad():
        _, states, _ = ours.vit(scans())
        tokens = 1 if kind == "classifier" else 0
        expected = theirs(scans())[1]
        assert len(states) == len(expected) == 4
        for state, other in zip(states, expected, strict=True):
            assert difference(state, other[:, tokens:]) < 1e-4
        assert difference(ours.vit(scans())[0], theirs.norm(expected[-1])[:, tokens:]) < 1e-4
    assert report.encoder_counts == ((49 + tokens,) * 2)
    assert ours.settings.class_token is (kind == "classifier")


@pytest.mark.parametrize("version", ["1.5", "1.6"])
@pytest.mark.parametrize("positions", ["sincos", "learnable"])
def test_the_encoder_of_monais_masked_autoencoder_gives_the_same_tokens(
    tmp_path: Path, positions: str, version: str
) -> None:
    theirs = vit(
        nets.MaskedAutoEncoderViT, pos_embed_type=positions, decoder_hidden_size=24, decoder_mlp_dim=24,
        decoder_num_layers=2, decoder_num_heads=2,
    )  # fmt: skip
    ours, report = load(save(tmp_path / "mae.pt", as_of(version, theirs.state_dict())))
    with torch.no_grad():
        embedded = theirs.patch_embedding(scans())
        expected = theirs.blocks(torch.cat([theirs.cls_token.expand(2, -1, -1), embedded], dim=1))[:, 1:]
        assert difference(ours.vit(scans())[0], expected) < 1e-4
    assert ours.settings.positions == ("sincos" if positions == "sincos" else "learned")
    assert report.encoder_counts == (50, 50)
    assert {name.split(".")[0] for name in report.dropped} >= {"decoder_blocks", "decoder_pred", "mask_tokens"}


@pytest.mark.parametrize("method", ["mae", "simmim"])
def test_a_pretraining_of_mim_med3d_arrives_whole(tmp_path: Path, method: str) -> None:
    theirs = vit(layers=12, proj_type="perceptron")
    checkpoint = mim_med3d(method, as_of("0.9", theirs.state_dict()))
    ours, report = load(save(tmp_path / "last.ckpt", checkpoint))
    assert report.encoder_counts == (137, 137)
    assert report.dropped["patch_to_emb.weight"] == "the patch projection under a second name"
    with torch.no_grad():
        states = ours.vit(scans())[1]
        for state, other in zip(states, theirs(scans())[1], strict=True):
            assert difference(state, other) < 1e-4


def test_a_finetuned_unetr_of_mim_med3d_gives_the_same_logits(tmp_path: Path) -> None:
    theirs = unetr(proj_type="perceptron")
    state = as_of("0.9", theirs.state_dict())
    checkpoint = {"epoch": 1, "state_dict": {f"model.{name}": tensor for name, tensor in state.items()}}
    ours, report = load(save(tmp_path / "best.ckpt", checkpoint))
    with torch.no_grad():
        assert difference(ours(scans()), theirs(scans())) < 1e-4
    assert report.encoder_counts == (137, 137)


def test_mim_med3ds_full_size_has_the_published_names_and_all_137_encoder_tensors_find_their_place() -> None:
    with torch.device("meta"):
        vit_b = nets.ViT(1, (96, 96, 96), (16, 16, 16), proj_type="perceptron")
        whole = nets.UNETR(1, 14, (96, 96, 96), proj_type="perceptron")
        ours = UNETR(UnetrSettings(classes=14)).state_dict()
    encoder = {name: torch.empty(t.shape) for name, t in as_of("0.9", vit_b.state_dict()).items()}
    assert len(encoder) == 137
    assert sum(tensor.numel() for tensor in encoder.values()) == 88_340_736
    assert len(as_of("0.9", whole.state_dict())) == 170
    for method, count in (("mae", 235), ("simmim", 142)):
        state = mim_med3d(method, encoder, 512, 8)["state_dict"]
        assert len(state) == count
        assert state["model.encoder.blocks.11.attn.qkv.weight"].shape == (2304, 768)
        assert state["model.to_pixels.weight"].shape == (4096, 512 if method == "mae" else 768)
        importer, found = identify(Checkpoint(state, {}, ""))
        assert importer.NAME == "mim-med3d"
        converted = importer.convert(found)
        assert len(converted.tensors) == 137
        assert len(converted.dropped) == count - 137
        shape, notes = read_shape(converted.tensors, ShapeHints())
        assert shape == UnetrSettings()
        assert any("12 attention heads are assumed" in note for note in notes)
        renamed = {name.replace("patch_embeddings.1.", "patch_embeddings.") for name in converted.tensors}
        assert renamed == {name for name in ours if is_used_in(name, "vit.")}


@pytest.mark.parametrize("wrapping", ["state_dict", "model.module", "network.net.0"])
def test_the_names_around_a_network_do_not_matter(tmp_path: Path, wrapping: str) -> None:
    theirs = vit()
    content: Any = theirs.state_dict()
    for name in reversed(wrapping.split(".")):
        content = {name: content}
    ours, _ = load(save(tmp_path / "x.pt", {**content, "optimizer": {"state": {"a": torch.ones(2)}}, "epoch": 4}))
    with torch.no_grad():
        assert difference(ours.vit(scans())[0], theirs(scans())[0]) < 1e-4


def test_weights_of_safetensors_are_read_too(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    theirs = vit()
    save_file(dict(theirs.state_dict()), tmp_path / "vit.safetensors")
    ours, _ = load(tmp_path / "vit.safetensors")
    with torch.no_grad():
        assert difference(ours.vit(scans())[0], theirs(scans())[0]) < 1e-4


def test_another_number_of_heads_computes_something_else_so_it_is_asked_for(tmp_path: Path) -> None:
    theirs = vit()
    path = save(tmp_path / "vit.pt", theirs.state_dict())
    with pytest.raises(UserError, match="how many attention heads") as refusal:
        read(path, heads=None)
    assert "--heads" in refusal.value.hint
    with pytest.raises(UserError, match="5 attention heads cannot"):
        read(path, heads=5)
    wrong, _ = load(path, heads=HEADS // 2)
    with torch.no_grad():
        assert difference(wrong.vit(scans())[0], theirs(scans())[0]) > 1e-2


def test_a_window_that_is_no_cube_is_asked_for(tmp_path: Path) -> None:
    path = save(tmp_path / "vit.pt", vit(img_size=(48, 32, 16)).state_dict())
    with pytest.raises(UserError, match="6 patches, which form no cube"):
        read(path)
    with pytest.raises(UserError, match="is not cut into the 6 patches"):
        read(path, window=(48, 32, 32))
    assert read(path, window=(48, 32, 16))[1].grid == (3, 2, 1)


@pytest.mark.parametrize(("patch_size", "channels"), [(8, 1), (12, 2), (16, 4), (24, 3)])
def test_patch_size_and_channels_of_a_perceptron_are_told_apart(tmp_path: Path, patch_size: int, channels: int) -> None:
    network = vit(channels=channels, proj_type="perceptron", img_size=patch_size, patch_size=patch_size)
    _, shape = read(save(tmp_path / "vit.pt", network.state_dict()))
    assert (shape.patch_size, shape.channels) == (patch_size, channels)


def test_many_channels_need_the_patch_size(tmp_path: Path) -> None:
    path = save(tmp_path / "vit.pt", vit(channels=16, proj_type="perceptron", img_size=16, patch_size=8).state_dict())
    with pytest.raises(UserError, match="8192 values"):
        read(path, patch_size=12)
    assert read(path)[1].patch_size == 16  # two channels are likelier than sixteen
    assert read(path, patch_size=8)[1].channels == 16


@pytest.mark.parametrize(
    ("network", "fault"),
    [
        (lambda: unetr(norm_name="batch"), "norm1.weight"),
        (lambda: unetr(conv_block=False), "encoder2.blocks.0.conv.weight"),
        (lambda: unetr(res_block=False), "missing, for example decoder"),
        (lambda: vit(patch_size=(16, 16, 8)), "16 x 16 x 8"),
        (lambda: vit(img_size=(32, 32), patch_size=(16, 16), spatial_dims=2), "16 x 16"),
        (lambda: vit(img_size=(20, 20, 20), patch_size=(10, 10, 10)), "Patch size 10"),
    ],
    ids=["batch-norm", "no-conv-block", "no-res-block", "flat-patches", "two-dimensions", "patch-10"],
)
def test_a_network_that_ours_cannot_equal_is_refused(tmp_path: Path, network: Any, fault: str) -> None:
    with pytest.raises(UserError, match=fault) as refusal:
        load(save(tmp_path / "x.pt", network().state_dict()))
    assert refusal.value.hint


@pytest.mark.parametrize("projection", ["conv", "perceptron"])
@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_tensors_of_impossible_shapes_are_refused_not_stumbled_over(projection: str, shape: tuple[int, ...]) -> None:
    state = unetr(proj_type=projection).state_dict()
    looked_at = ("position_embeddings", "patch_embeddings", "blocks.0.mlp", "encoder1", "out.conv")
    for name in [name for name in state if any(part in name for part in looked_at)]:
        importer, found = identify(Checkpoint({**state, name: torch.ones(shape)}, {}, ""))
        converted = importer.convert(found)
        with pytest.raises(UserError):
            converted_network(converted, read_shape(converted.tensors, ShapeHints(heads=HEADS))[0], "a test")


def test_a_unetr_with_a_bias_of_queries_keys_and_values_gives_the_same_logits(tmp_path: Path) -> None:
    theirs = unetr(qkv_bias=True).eval()
    ours, _ = load(save(tmp_path / "x.pt", theirs.state_dict()))
    assert ours.settings.qkv_bias
    with torch.no_grad():
        assert difference(ours.eval()(scans()), theirs(scans())) < 1e-4


def test_an_incomplete_encoder_is_refused_unless_allowed(tmp_path: Path) -> None:
    state = dict(vit().state_dict())
    del state["blocks.2.mlp.linear1.weight"]
    converted, shape = read(save(tmp_path / "vit.pt", state))
    with pytest.raises(UserError, match="1 of 49 encoder tensors did not arrive"):
        converted_network(converted, shape, "a test")
    _, report = converted_network(converted, shape, "a test", allow_incomplete=True)
    assert report.missing == ["vit.blocks.2.mlp.linear1.weight"]
    assert "48 of 49 encoder tensors arrived" in report.summary()


def test_an_incomplete_segmentation_network_is_never_accepted(tmp_path: Path) -> None:
    for name in ("decoder3.conv_block.conv1.conv.weight", "vit.norm.weight"):
        state = dict(unetr().state_dict())
        del state[name]
        converted, shape = read(save(tmp_path / "unetr.pt", state))
        with pytest.raises(UserError, match="missing"):
            converted_network(converted, shape, "a test", allow_incomplete=True)


def test_names_sizes_and_positions_are_read_from_the_tensors(tmp_path: Path) -> None:
    _, shape = read(save(tmp_path / "unetr.pt", unetr(channels=4, classes=5).state_dict()))
    assert shape == UnetrSettings(
        window=WINDOW, channels=4, classes=5, hidden_size=48, mlp_size=ENCODER["mlp_dim"], heads=HEADS, feature_size=4
    )
    checkpoint = read_checkpoint(tmp_path / "unetr.pt")
    assert identify(checkpoint)[0].NAME == "monai-unetr"
