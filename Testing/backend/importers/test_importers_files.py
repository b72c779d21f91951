"""Files of weights: what is refused, and how a file that holds several networks is told to be read."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")
pytestmark = pytest.mark.train

from foreign_weights import as_of, mim_med3d, read, save, unetr, vit  # noqa: E402
from monai.networks import nets  # noqa: E402

from mimseg.errors import UserError  # noqa: E402
from mimseg.importers import identify, importers  # noqa: E402
from mimseg.importers.checkpoint_file import Checkpoint, read_checkpoint  # noqa: E402
from mimseg.importers.found import MONAI_ANCHOR, encoders_in  # noqa: E402
from mimseg.importers.source_files import open_source  # noqa: E402

CALLS: list[str] = []


class Trap:
    """Unpickling this calls a function."""

    def __reduce__(self) -> tuple[Any, ...]:
        return CALLS.append, ("called",)


class OsTrap:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("trap-was-here",)


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize("trap", [Trap(), OsTrap()])
def test_a_file_that_needs_code_is_refused_with_the_reason_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: Any, old_format: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "vit.ckpt"
    content = {"state_dict": vit().state_dict(), "hyper_parameters": trap}
    torch.save(content, path, _use_new_zipfile_serialization=not old_format)
    with pytest.raises(UserError) as refusal:
        read_checkpoint(path)
    assert refusal.value.code == "unsafe-weights"
    assert "running code (" in refusal.value.message
    assert "save the weights alone" in refusal.value.hint
    assert "weights_only" not in str(refusal.value)
    assert CALLS == []
    assert not (tmp_path / "trap-was-here").exists()


def test_a_whole_pickled_module_and_a_plain_pickle_are_refused(tmp_path: Path) -> None:
    torch.save(vit(), tmp_path / "module.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"weights": OsTrap()}))
    for name in ("module.pt", "plain.pt"):
        with pytest.raises(UserError) as refusal:
            read_checkpoint(tmp_path / name)
        assert refusal.value.code in ("unsafe-weights", "bad-weights")


def test_torchscript_is_refused_because_it_is_a_program(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "model.ts")
    with pytest.raises(UserError, match="TorchScript, which is a program"):
        read_checkpoint(tmp_path / "model.ts")


@pytest.mark.parametrize("content", [b"", b"hello world", b"PK\x03\x04 broken", b"\x80\x02junk"])
@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as refusal:
        read_checkpoint(tmp_path / name)
    assert refusal.value.hint


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "vit.pt", vit().state_dict())
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ({"a": torch.tensor([1.0, float("nan")])}, "not finite"),
        ({"epoch": 3}, "no tensors"),
        ([torch.ones(3)], "a list instead of named tensors"),
        ({"a": torch.ones(1).expand(10**6, 10**6)}, "larger than what is stored"),
    ],
    ids=["nan", "empty", "list", "expanded"],
)
def test_unusable_tensors_are_refused(tmp_path: Path, content: Any, fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        read_checkpoint(save(tmp_path / "x.pt", content))


def test_packed_tensors_cannot_fill_the_memory(tmp_path: Path) -> None:
    save(tmp_path / "x.pt", {"a": torch.zeros(10**6)})
    with zipfile.ZipFile(tmp_path / "x.pt") as archive, zipfile.ZipFile(tmp_path / "y.pt", "w", 8) as packed:
        for entry in archive.infolist():
            packed.writestr(entry.filename, archive.read(entry))
    assert (tmp_path / "y.pt").stat().st_size < 10**5
    with pytest.raises(UserError):
        read_checkpoint(tmp_path / "y.pt")


def test_half_precision_becomes_single_and_counters_are_no_weights(tmp_path: Path) -> None:
    content = {"half": torch.ones(2).half(), "brain": torch.ones(2).bfloat16(), "steps": torch.tensor(3)}
    tensors = read_checkpoint(save(tmp_path / "x.pt", content)).tensors
    assert {name: tensor.dtype for name, tensor in tensors.items()} == dict.fromkeys(("half", "brain"), torch.float32)


def networks() -> dict[str, dict[str, Any]]:
    mae = vit(nets.MaskedAutoEncoderViT, decoder_hidden_size=24, decoder_num_heads=2).state_dict()
    auto = vit(nets.ViTAutoEnc).state_dict()
    flat = as_of("0.9", vit(proj_type="perceptron").state_dict())
    return {
        "mim-med3d": mim_med3d("mae", flat),
        "monai-unetr": unetr().state_dict(),
        "monai-vit": {"student": {"encoder": vit().state_dict()}},
        "monai-vit-autoencoder": {"model": auto},
        "monai-mae": mae,
    }


def test_every_kind_of_file_is_known_to_exactly_one_importer(tmp_path: Path) -> None:
    monai = [importer for importer in importers() if importer.ANCHOR == MONAI_ANCHOR]
    assert [importer.NAME for importer in monai] == list(networks())
    for name, content in networks().items():
        checkpoint = read_checkpoint(save(tmp_path / "x.pt", content))
        (found,) = encoders_in(checkpoint, MONAI_ANCHOR)
        assert [importer.NAME for importer in monai if importer.recognise(found)] == [name]
        assert {identify(checkpoint)[0].NAME, identify(checkpoint, source=name)[0].NAME} == {name}


def test_a_unetr_without_its_last_block_is_refused(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in unetr().state_dict().items() if not name.startswith("vit.blocks.11.")}
    with pytest.raises(UserError, match="11 transformer blocks; MONAI's has always 12"):
        read(save(tmp_path / "x.pt", state))


def test_of_several_networks_in_a_file_the_user_names_one(tmp_path: Path) -> None:
    content = {"model": vit().state_dict(), "ema": vit(layers=5).state_dict(), "segmenter": unetr().state_dict()}
    checkpoint = read_checkpoint(save(tmp_path / "x.pt", content))
    with pytest.raises(UserError, match="3 networks") as refusal:
        identify(checkpoint)
    assert refusal.value.code == "ambiguous-weights"
    assert "--source monai-unetr --prefix segmenter.vit." in refusal.value.hint
    assert identify(checkpoint, source="monai-unetr")[1].root == "segmenter.vit."
    assert identify(checkpoint, prefix="ema.")[1].root == "ema."
    with pytest.raises(UserError, match="3 networks"):
        identify(checkpoint, source="monai-vit")
    with pytest.raises(UserError, match="none of them"):
        identify(checkpoint, source="monai-mae")
    with pytest.raises(UserError, match="no importer 'swin'"):
        identify(checkpoint, source="swin")
    report = identify(checkpoint, prefix="model.")[0].convert(identify(checkpoint, prefix="model.")[1]).dropped
    assert report["segmenter.*"] == f"{len(content['segmenter'])} tensors of something else"


def test_a_network_that_two_importers_know_needs_a_name() -> None:
    tensors = {f"encoder.{name}": tensor for name, tensor in networks()["monai-vit-autoencoder"]["model"].items()}
    tensors.update({"patch_to_emb.weight": torch.ones(1), "to_pixels.weight": torch.ones(1)})
    checkpoint = Checkpoint(tensors, {}, "")
    with pytest.raises(UserError, match="2 networks"):
        identify(checkpoint)
    assert identify(checkpoint, source="mim-med3d")[0].NAME == "mim-med3d"


def test_weights_of_another_network_are_not_known(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3), torch.nn.Linear(2, 2))
    with pytest.raises(UserError, match="No importer knows this file") as refusal:
        identify(read_checkpoint(save(tmp_path / "x.pt", network.state_dict())))
    assert "MONAI UNETR" in refusal.value.hint


def test_of_a_zip_only_what_is_needed_is_unpacked_under_names_of_our_own(tmp_path: Path) -> None:
    save(tmp_path / "w.pt", {"a": torch.ones(2)})
    with zipfile.ZipFile(tmp_path / "bundle.zip", "w") as archive:
        archive.write(tmp_path / "w.pt", "top/models/model.pt")
        archive.writestr("top/configs/metadata.json", json.dumps({"version": "1"}))
        archive.writestr("../../outside.py", "print('no')")
        archive.writestr("top/scripts/code.py", "print('no')")
    with open_source(tmp_path / "bundle.zip") as files:
        assert files.name == "bundle"
        assert list(files.declarations) == ["configs/metadata.json"]
        assert [path.name for path in files.weights.parent.iterdir()] == ["model.pt"]
        assert np.array_equal(read_checkpoint(files.weights).tensors["a"].numpy(), np.ones(2))
        folder = files.weights.parent
    assert not folder.exists()
    assert not (tmp_path.parent / "outside.py").exists()


def test_sources_without_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    (tmp_path / "y.zip").write_bytes(b"no zip")
    for name, code in (
        ("folder", "not-a-model"),
        ("x.zip", "not-a-model"),
        ("y.zip", "bad-archive"),
        ("z", "file-missing"),
    ):
        with pytest.raises(UserError) as refusal, open_source(tmp_path / name):
            pass
        assert refusal.value.code == code
