"""What `inference.py` measures in processes of their own; each prints its findings as one line of JSON at the end.

python inference_children.py NAME '{"argument": value}'
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from inference_training import loading, mae_steps, timed


def peak(threads: int) -> dict[str, float]:
    """GFLOP/s of a large float32 matrix product, best of ten: the machine's practical limit."""
    import torch

    torch.set_num_threads(threads)
    edge = 2048
    a, b = torch.rand(edge, edge), torch.rand(edge, edge)
    return {"gflops": 2 * edge**3 / min(timed(lambda: a @ b, 10)) / 1e9}


def make_model(
    folder: str, classes: int, window: list[int], spacing: float | None, small: bool, network: str = ""
) -> dict:
    """A model of random weights as a bundle, for CT at `spacing` mm.

    `network` is a name as `--network` takes it; without one it is a UNETR-B/16, or a small one to try the benchmark.
    """
    from dataclasses import replace

    import torch

    from mimseg.bundle.description import Description
    from mimseg.bundle.writer import write_bundle
    from mimseg.data.intensity import Intensity
    from mimseg.data.labels.structures import Label
    from mimseg.data.preprocessing import Preprocessing
    from mimseg.networks.settings import NetworkSettings
    from mimseg.networks.table import named_settings
    from mimseg.networks.unetr_settings import UnetrSettings

    torch.manual_seed(0)
    size = (window[0], window[1], window[2])
    sizes = {"hidden_size": 96, "mlp_size": 192, "layers": 4, "heads": 4, "feature_size": 8} if small else {}
    settings: NetworkSettings = UnetrSettings(size, 1, classes, **sizes)
    if network:
        settings = replace(named_settings(network), window=size, classes=classes)
    built = settings.build()
    if not network:
        # Larger logits: with random weights, softmax would be nearly flat and labels would hang on the last digit.
        with torch.no_grad():
            built.out.conv.conv.weight *= 10
    description = Description(
        name=Path(folder).name,
        title="Random weights",
        description="For measuring speed only.",
        version="1.0.0",
        modality="CT",
        channels=("CT",),
        preprocessing=Preprocessing(
            "RAS", None if spacing is None else (spacing,) * 3, Intensity("window", -1000, 1000)
        ),
        window=size,
        labels=tuple(Label(k, f"Structure {k}", (k, 0, 0)) for k in range(1, classes)),
        network=settings.to_json(),
    )
    write_bundle(Path(folder), built, description)
    return {}


def _network(bundle: Any) -> Any:
    from mimseg.inference.engines.torch_engine import _load_network

    return _load_network(bundle).eval()


def window_torch(model: str, threads: int, repeats: int) -> dict[str, Any]:
    """Eager PyTorch on one window, and the operations that it counts."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from mimseg.bundle.reader import open_bundle

    torch.set_num_threads(threads)
    bundle = open_bundle(Path(model))
    network = _network(bundle)
    volume = torch.from_numpy(_example(bundle))
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            logits = network(volume)
        np.save(Path(model).parent / "torch.npy", logits.numpy())
        seconds = timed(lambda: network(volume), repeats)
    return {"seconds": min(seconds), "all": seconds, "gflop": counter.get_total_flops() / 1e9}


def window_swin(window: list[int], classes: int, threads: int, repeats: int) -> dict[str, Any]:
    """Eager PyTorch on one window of MONAI's SwinUNETR with 48 features, which mimseg does not have."""
    import torch
    from monai.networks.nets import SwinUNETR
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = SwinUNETR(in_channels=1, out_channels=classes, feature_size=48).eval()
    volume = torch.randn(1, 1, *window)
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            network(volume)
        seconds = timed(lambda: network(volume), repeats)
    return {"seconds": min(seconds), "all": seconds, "gflop": counter.get_total_flops() / 1e9}


def window_mimseg(model: str, threads: int, repeats: int, precision: str = "f32") -> dict[str, Any]:
    """mimseg's engine on one window."""
    from mimseg.bundle.reader import open_bundle
    from mimseg.inference.engines.openvino_engine import OpenVinoEngine

    bundle = open_bundle(Path(model))
    engine = OpenVinoEngine(bundle.onnx_path, threads, precision)
    volume = _example(bundle)
    logits = engine(volume)
    seconds = timed(lambda: engine(volume), repeats)
    expected = np.load(Path(model).parent / "torch.npy")
    difference = float(np.abs(logits - expected).max() / np.abs(expected).max())
    return {"seconds": min(seconds), "all": seconds, "difference": difference}


def window_profile(model: str, threads: int) -> dict[str, Any]:
    """Milliseconds by kind of layer of OpenVINO's network for one window, largest first."""
    import openvino

    from mimseg.bundle.reader import open_bundle

    bundle = open_bundle(Path(model))
    core = openvino.Core()
    network = core.read_model(bundle.onnx_path)
    network.reshape([1, len(bundle.description.channels), *bundle.description.window])
    properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "PERF_COUNT": True}
    request = core.compile_model(
        network, "CPU", {**properties, "INFERENCE_NUM_THREADS": threads}
    ).create_infer_request()
    kinds: dict[str, float] = {}
    for _ in range(2):
        request.infer([_example(bundle)])
        kinds = {}
        for layer in request.get_profiling_info():
            name = f"{layer.node_type} {layer.exec_type}"
            kinds[name] = kinds.get(name, 0) + layer.real_time.total_seconds() * 1000
    largest = sorted(kinds.items(), key=lambda kind: -kind[1])
    return {"milliseconds": {name: round(ms, 1) for name, ms in largest if ms >= 1}}


def _example(bundle: Any) -> np.ndarray:
    shape = (1, len(bundle.description.channels), *bundle.description.window)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def monai_script(image: str, model: str, output: str, threads: int, overlap: float) -> dict[str, Any]:
    """The usual MONAI way from file to file: transforms, sliding window, `Invertd` of all classes, argmax, save.

    One process as a user would start it: its whole time and memory count, imports included.
    """
    import torch
    from monai.data import DataLoader, Dataset, decollate_batch
    from monai.inferers import SlidingWindowInferer
    from monai.transforms import (
        AsDiscreted,
        Compose,
        EnsureChannelFirstd,
        Invertd,
        LoadImaged,
        NormalizeIntensityd,
        Orientationd,
        SaveImaged,
        ScaleIntensityRanged,
        Spacingd,
    )

    from mimseg.bundle.reader import open_bundle

    torch.set_num_threads(threads)
    bundle = open_bundle(Path(model))
    description, network = bundle.description, _network(bundle)
    preprocessing = description.preprocessing
    scaling = preprocessing.intensity
    intensity: list[Any] = [ScaleIntensityRanged("image", scaling.lower, scaling.upper, 0, 1, clip=True)]
    if scaling.kind == "zscore":
        intensity = [
            NormalizeIntensityd("image", nonzero=True, channel_wise=True),
            ScaleIntensityRanged("image", -5, 5, -5, 5, clip=True),
        ]
    before = Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            Orientationd("image", preprocessing.orientation, labels=None),
            Spacingd("image", preprocessing.spacing, mode="bilinear", align_corners=True),
            *intensity,
        ]
    )
    after = Compose(
        [
            Invertd("prediction", before, orig_keys="image", nearest_interp=False, to_tensor=True),
            AsDiscreted("prediction", argmax=True),
            SaveImaged(
                "prediction",
                output_dir=str(Path(output).parent),
                output_postfix="monai",
                separate_folder=False,
                output_dtype=np.uint8,
                print_log=False,
            ),
        ]
    )
    inferer = SlidingWindowInferer(description.window, 1, overlap, mode="gaussian")
    with torch.inference_mode():
        for batch in DataLoader(Dataset([{"image": image}], before)):
            batch["prediction"] = torch.softmax(inferer(batch["image"], network), 1)
            for case in decollate_batch(batch):
                after(case)
    name = Path(image).name.removesuffix(".gz").removesuffix(".nii")
    (Path(output).parent / f"{name}_monai.nii.gz").replace(output)
    return {}


if __name__ == "__main__":
    tasks = (
        peak,
        make_model,
        window_torch,
        window_swin,
        window_mimseg,
        window_profile,
        monai_script,
        mae_steps,
        loading,
    )
    task = next(task for task in tasks if task.__name__ == sys.argv[1])
    print(json.dumps(task(**json.loads(sys.argv[2]))))
