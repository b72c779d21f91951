"""Training steps that `inference.py` measures."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def timed(action: Callable[[], Any], repeats: int, warm: int = 1) -> list[float]:
    """Wall seconds of each call, after `warm` calls that do not count."""
    for _ in range(warm):
        action()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - began)
    return seconds


def mae_steps(kind: str, threads: int, repeats: int, batch: int, edge: int) -> dict[str, Any]:
    """Training steps of masked auto-encoders, ViT-B/16: `ours`, or `monai` with the decoder 512 x 8."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    volume = torch.randn(batch, 1, edge, edge, edge)
    step = _our_mae(volume) if kind == "ours" else _monai_mae(volume)
    seconds = timed(step, repeats)
    return {"seconds": min(seconds), "all": seconds}


def _our_mae(volume: Any) -> Callable[[], None]:
    import torch

    from mimseg.networks.methods.mae import MaeSettings, MaskedAutoencoder
    from mimseg.networks.unetr_settings import UnetrSettings
    from mimseg.training.optimiser.muon import make_optimizer

    edge = volume.shape[-1]
    network = MaskedAutoencoder(UnetrSettings((edge, edge, edge)), MaeSettings(mask_ratio=0.75))
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = make_optimizer([{"params": parameters, "lr": 1e-4}], (0.9, 0.999))
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        optimizer.zero_grad()
        network(volume, network.draw_mask(len(volume), generator)).backward()
        optimizer.step()

    return step


def _monai_mae(volume: Any) -> Callable[[], None]:
    import torch
    from monai.networks.nets import MaskedAutoEncoderViT

    edge = volume.shape[-1]
    network = MaskedAutoEncoderViT(
        1,
        edge,
        16,
        mlp_dim=3072,
        masking_ratio=0.75,
        decoder_hidden_size=512,
        decoder_mlp_dim=2048,
        decoder_num_layers=8,
        decoder_num_heads=8,
        decoder_pos_embed_type="learnable",  # 512 is no multiple of 6, as fixed ones need
    )
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
    grid = edge // 16
    patches = volume.reshape(len(volume), grid, 16, grid, 16, grid, 16).permute(0, 1, 3, 5, 2, 4, 6)
    target = patches.reshape(len(volume), grid**3, -1)

    def step() -> None:
        optimizer.zero_grad()
        predicted, mask = network(volume)
        loss = ((predicted - target) ** 2).mean(-1)
        ((loss * mask).sum() / mask.sum()).backward()
        optimizer.step()

    return step


def loading(data: str, output: str, threads: int, steps: int, edge: int, batch: int) -> dict[str, Any]:
    """Share of a pre-training's time that the network waits for crops."""
    import torch

    from mimseg.commands.pretrain.run import pretrain
    from mimseg.commands.pretrain.settings import PretrainSettings
    from mimseg.events import Reporter
    from mimseg.networks.unetr_settings import UnetrSettings
    from mimseg.training import loop
    from mimseg.training.budget import Budget

    torch.set_num_threads(threads)
    waited: list[float] = []
    between: list[float] = []
    original = loop.ahead

    def measured(*arguments: Any, **options: Any) -> Any:
        batches = original(*arguments, **options)
        returned = None
        try:
            while True:
                began = time.perf_counter()
                if returned is not None:
                    between.append(began - returned)
                item = next(batches)
                returned = time.perf_counter()
                waited.append(returned - began)
                yield item
        finally:
            batches.close()

    loop.ahead = measured
    network = UnetrSettings((edge, edge, edge))
    pretrain(
        PretrainSettings(
            (Path(data),), Path(output), Budget(steps), network, batch=batch, window=network.window, validations=1,
            spacing=(1.5, 1.5, 1.5), modality="CT", device="cpu", precision="32-true",
        ),
        Reporter(),
    )  # fmt: skip
    # The first batch is waited for in any case; it is not part of the steady state.
    return {"waited": sum(waited[1:]), "computed": sum(between), "steps": len(between)}
