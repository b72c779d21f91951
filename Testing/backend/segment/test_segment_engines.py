"""The engines: choice, equality, memory, cancelling, the cache of compiled networks."""

import os

import numpy as np
import pytest
import SimpleITK as sitk
from segment_tools import OBLIQUE, Recorder, settings_for
from tiny_model import LABELS, write_tiny_bundle

from mimseg import stopping
from mimseg.bundle.description import Description
from mimseg.bundle.reader import open_bundle
from mimseg.cache import MOST_ENTRIES, Cache, cache_folder
from mimseg.commands.segment.run import segment
from mimseg.data.labels.labelmaps import read_labelmap
from mimseg.data.preprocessing import Preprocessing
from mimseg.data.volumes import read_volume
from mimseg.errors import Stopped, UserError
from mimseg.inference import engines
from mimseg.memory import is_out_of_memory, memory_errors_named
from mimseg.networks.unetr_settings import UnetrSettings


@pytest.fixture
def model(tmp_path):
    return write_tiny_bundle(tmp_path / "tiny")


@pytest.mark.parametrize(
    "text",
    [
        "Exception from src/core: Can not allocate memory for the blob",
        "std::bad_alloc",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "[CPU] Failed to allocate 4096 bytes of memory",
        "could not create a memory object, out of memory",
    ],
)
def test_words_for_lack_of_memory_are_understood(text):
    assert is_out_of_memory(RuntimeError(text))


def test_other_failures_are_not_taken_for_lack_of_memory():
    assert not is_out_of_memory(RuntimeError("shape mismatch in memory layout"))
    with pytest.raises(RuntimeError, match="mismatch"), memory_errors_named("do it"):
        raise RuntimeError("mismatch")


def test_engine_and_device_that_do_not_go_together_are_refused(model):
    with pytest.raises(UserError, match="OpenVINO does not run on cuda"):
        engines.open_engine(open_bundle(model), "cuda", "openvino")


def test_a_damaged_network_is_refused(tmp_path, model):
    bundle = open_bundle(model)
    bundle.onnx_path.write_bytes(b"garbage")
    with pytest.raises(UserError, match="cannot be read by OpenVINO"):
        engines.open_engine(bundle, "cpu", "openvino")


def test_without_a_gpu_driver_auto_is_openvino_on_the_cpu(model, monkeypatch):
    monkeypatch.setattr(engines, "_nvidia_driver_present", lambda: False)
    opened = engines.open_engine(open_bundle(model))
    assert (opened.name, opened.device) == ("openvino", "cpu")
    assert opened(np.zeros((3, 1, 16, 16, 16), np.float32)).shape == (3, 3, 16, 16, 16)


@pytest.fixture(scope="module")
def random_unetr(tmp_path_factory):
    """A UNETR of random weights, as a bundle, with its description."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("monai")
    pytest.importorskip("onnx")
    from mimseg.bundle.writer import write_bundle

    network_settings = UnetrSettings((16, 16, 16), 1, 3, 8, hidden_size=48, mlp_size=96, layers=3, heads=4)
    torch.manual_seed(0)
    description = Description(
        name="random",
        title="Random",
        description="Random weights.",
        version="1.0.0",
        modality="MR",
        channels=("T1",),
        preprocessing=Preprocessing("RAS", (1.0, 1.0, 1.5)),
        window=(16, 16, 16),
        labels=LABELS,
        network=network_settings.to_json(),
    )
    return write_bundle(tmp_path_factory.mktemp("models") / "random", network_settings.build(), description)


@pytest.mark.train
def test_labels_equal_those_of_monai_on_the_torch_network(tmp_path, random_unetr):
    import torch
    from monai.data import MetaTensor
    from monai.inferers import SlidingWindowInferer
    from monai.transforms import Compose, NormalizeIntensityd, Orientationd, ScaleIntensityRanged, Spacingd
    from safetensors.torch import load_file

    array = np.random.default_rng(5).normal(100, 20, (30, 24, 14)).astype(np.float32)
    array[:4] = 0
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing((0.93, 1.27, 2.11))
    image.SetDirection(OBLIQUE.ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / "scan.nrrd"))
    segment(settings_for(random_unetr.path, tmp_path / "scan.nrrd", tmp_path / "labels.nrrd"))
    labels = read_labelmap(tmp_path / "labels.nrrd").array

    network = random_unetr.description.network_settings.build().eval()
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(random_unetr.weights_path).items()})
    grid = read_volume(tmp_path / "scan.nrrd").grid
    transforms = Compose(
        [
            Orientationd("image", "RAS", labels=None),
            Spacingd("image", (1.0, 1.0, 1.5), mode="bilinear", align_corners=True),
            NormalizeIntensityd("image", nonzero=True, channel_wise=True),
            ScaleIntensityRanged("image", -5, 5, -5, 5, clip=True),
        ]
    )
    scan = transforms({"image": MetaTensor(array[None], affine=np.diag([-1.0, -1, 1, 1]) @ grid.affine)})["image"]
    with torch.inference_mode():
        logits = SlidingWindowInferer((16, 16, 16), 1, 0.5, mode="gaussian")(scan[None].as_tensor(), network)
    probabilities = MetaTensor(torch.softmax(logits[0], 0), affine=scan.affine)
    probabilities.applied_operations = scan.applied_operations
    expected = np.array([0, 3, 7])[transforms.inverse({"image": probabilities})["image"].argmax(0).numpy()]
    assert len(np.unique(expected)) > 1
    assert (labels != expected).mean() <= 1e-3


@pytest.mark.train
def test_the_torch_engine_gives_the_logits_of_openvino(random_unetr):
    windows = np.random.default_rng(0).normal(size=(2, 1, 16, 16, 16)).astype(np.float32)
    by_torch = engines.open_engine(random_unetr, "cpu", "torch")
    by_openvino = engines.open_engine(random_unetr, "cpu", "openvino")
    assert (by_torch.name, by_torch.device) == ("torch", "cpu")
    assert np.abs(by_torch(windows) - by_openvino(windows)).max() < 1e-3


@pytest.mark.train
def test_a_gpu_that_is_not_there_is_named(random_unetr):
    import torch

    for device, there in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())):
        if not there:
            with pytest.raises(UserError, match="GPU"):
                engines.open_engine(random_unetr, device, "torch")


def test_a_compiled_network_is_kept_and_taken_again(tmp_path, model, monkeypatch):
    monkeypatch.setenv("MIMSEG_CACHE", str(tmp_path / "cache"))
    windows = np.random.default_rng(0).normal(size=(2, 1, 16, 16, 16)).astype(np.float32)
    bundle = open_bundle(model)
    first = engines.open_engine(bundle, "cpu", "openvino")(windows)
    (entry,) = (tmp_path / "cache" / "compiled").iterdir()
    network = bundle.onnx_path.read_bytes()
    bundle.onnx_path.unlink()  # Only the cache can serve now.
    assert np.array_equal(engines.open_engine(bundle, "cpu", "openvino")(windows), first)
    entry.write_bytes(entry.read_bytes()[:-1])
    with pytest.raises(UserError):
        engines.open_engine(bundle, "cpu", "openvino")
    bundle.onnx_path.write_bytes(network)
    assert np.array_equal(engines.open_engine(bundle, "cpu", "openvino")(windows), first)


def test_a_cache_that_cannot_be_used_is_no_error(tmp_path, model, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MIMSEG_CACHE", str(tmp_path / "file"))
    engines.open_engine(open_bundle(model), "cpu", "openvino")
    monkeypatch.setenv("MIMSEG_CACHE", "off")
    assert cache_folder("compiled") is None
    Cache(None).write(b"x", "key")
    assert Cache(None).read("key") is None


def test_the_cache_keeps_few_and_no_large_entries(tmp_path, monkeypatch):
    cache = Cache(tmp_path)
    monkeypatch.setattr("mimseg.cache.LARGEST_BYTES", 10)
    cache.write(b"12345678901", "large")
    assert cache.read("large") is None
    for number in range(MOST_ENTRIES + 2):
        cache.write(b"content", "entry", str(number))
        for path in tmp_path.iterdir():  # All that is there becomes older than what comes next.
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 10))
    kept = [number for number in range(MOST_ENTRIES + 2) if cache.read("entry", str(number)) == b"content"]
    assert kept == list(range(2, MOST_ENTRIES + 2))


class EndlessRequest:
    """Stands in for OpenVINO's request on a window that takes forever."""

    def __init__(self):
        self.calls = []

    def set_output_tensor(self, index, tensor):
        pass

    def start_async(self, inputs, share_inputs):
        self.calls.append("start")

    def wait_for(self, milliseconds):
        assert milliseconds <= 1000
        stopping.request()
        return False

    def cancel(self):
        self.calls.append("cancel")

    def wait(self):
        self.calls.append("wait")
        raise RuntimeError("Infer Request was canceled")


def test_a_running_window_is_broken_off_when_the_user_stops(model):
    opened = engines.open_engine(open_bundle(model), "cpu", "openvino")
    real, opened._request = opened._request, EndlessRequest()
    try:
        with pytest.raises(Stopped):
            opened(np.zeros((2, 1, 16, 16, 16), np.float32))
        assert opened._request.calls == ["start", "cancel", "wait"]
    finally:
        stopping.clear()
        opened._request = real


def test_results_stay_when_the_next_windows_are_computed(model):
    opened = engines.open_engine(open_bundle(model), "cpu", "openvino")
    dark, bright = (np.full((1, 1, 16, 16, 16), value, np.float32) for value in (0, 1))
    first = opened(dark)
    kept = first.copy()
    assert not np.array_equal(opened(bright), kept)
    assert np.array_equal(first, kept)


def test_bf16_is_used_where_the_processor_has_it_and_said_elsewhere(model):
    recorder = Recorder()
    opened = engines.open_engine(open_bundle(model), "cpu", "openvino", reporter=recorder, precision="bf16")
    assert (recorder.warnings == ["precision"]) == (opened.precision == "f32")
    windows = np.random.default_rng(0).uniform(size=(1, 1, 16, 16, 16)).astype(np.float32)
    exact = engines.open_engine(open_bundle(model), "cpu", "openvino")(windows)
    assert np.abs(opened(windows) - exact).max() < 0.02 * np.abs(exact).max()


@pytest.mark.train
def test_mixed_precision_in_torch_is_near_float32(random_unetr):
    windows = np.random.default_rng(0).normal(size=(2, 1, 16, 16, 16)).astype(np.float32)
    exact = engines.open_engine(random_unetr, "cpu", "torch")(windows)
    mixed = engines.open_engine(random_unetr, "cpu", "torch", precision="bf16")(windows)
    assert mixed.dtype == np.float32
    assert 0 < np.abs(mixed - exact).max() < 0.1 * np.abs(exact).max()


def test_each_rank_of_a_computer_takes_its_own_gpu(model, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "mimseg.inference.engines.torch_engine.TorchEngine", lambda bundle, device, *rest: seen.append(device)
    )
    monkeypatch.setattr(engines, "_installed", lambda package: True)
    for gpu in (0, 3):
        engines.open_engine(open_bundle(model), "cuda", gpu=gpu)
    assert seen == ["cuda", "cuda:3"]
