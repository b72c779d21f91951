"""Examine what this computer can do, and what would make it able to do more."""

from __future__ import annotations

import platform
import sys
import textwrap
from dataclasses import asdict, dataclass
from typing import Any

from mimseg import __version__
from mimseg.computer.advice import Advice, advise
from mimseg.computer.graphics import GraphicsCard, describe_graphics
from mimseg.computer.memory import Memory, describe_memory
from mimseg.computer.packages import REQUIREMENTS, Package, inspect_packages
from mimseg.computer.processor import Processor, describe_processor
from mimseg.computer.speed import Speed, measure_speed
from mimseg.events import Reporter
from mimseg.networks.methods import METHODS
from mimseg.networks.table import named_settings, network_names
from mimseg.stopping import check

USABLE = ("works", "installed")


@dataclass(frozen=True)
class Examination:
    """What was found.

    Attributes:
        processor: Name, cores, features.
        memory: Total and free.
        graphics: Cards that the drivers show.
        packages: Everything mimseg builds on.
        speed: Measured, or empty after a quick examination.
        advice: What to do, the most important first.
    """

    processor: Processor
    memory: Memory
    graphics: tuple[GraphicsCard, ...]
    packages: tuple[Package, ...]
    speed: Speed
    advice: tuple[Advice, ...]

    @property
    def engines(self) -> tuple[str, ...]:
        """Engines that can segment, the preferred first, each with its devices."""
        usable = {package.name for package in self.packages if package.state in USABLE}
        if not {"numpy", "SimpleITK"} <= usable:
            return ()
        engines = ["openvino on cpu"] if "openvino" in usable else []
        if {"torch", "monai", "einops", "safetensors"} <= usable:
            engines += [f"torch on {device}" for device in self.torch_devices]
        return tuple(engines)

    @property
    def torch_devices(self) -> tuple[str, ...]:
        """Devices that PyTorch computes on, the fastest first; empty without PyTorch."""
        torch = next((package for package in self.packages if package.name == "torch"), None)
        if torch is None or torch.state not in USABLE:
            return ()
        found = [device["device"] for device in (torch.details or {}).get("devices", []) if device.get("works")]
        return (*found, "cpu")

    @property
    def can_train(self) -> bool:
        """True if every package is there but those that only segment or write."""
        needed = [each for each in self.packages if each.name != "openvino" and each.purpose != "dicom"]
        return all(each.state in USABLE for each in needed)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "format": "mimseg-doctor",
            "format_version": 1,
            "mimseg_version": __version__,
            "python": platform.python_version(),
            "system": platform.platform(),
            "can": {"segment": list(self.engines), "train": list(self.torch_devices) if self.can_train else []},
            "methods": [
                {"name": name, "title": method.title, "summary": method.summary} for name, method in METHODS.items()
            ],
            "networks": [{"name": name, "in_words": named_settings(name).in_words()} for name in network_names()],
            "fast_bfloat16": self.processor.fast_bfloat16 or self.speed.bfloat16,
            **asdict(self),
        }


def examine(reporter: Reporter, quick: bool = False) -> Examination:
    """Examine this computer.

    Args:
        reporter: Is told of the steps.
        quick: Import no package of the training runtime and measure no speed.

    Raises:
        Stopped: The user stopped.
    """
    reporter.start("doctor")
    reporter.progress("examine", 0, 4)
    processor, memory, graphics = describe_processor(), describe_memory(), describe_graphics()
    check()
    reporter.progress("examine", 1, 4)
    packages: list[Package] = []
    # Two processes: OpenVINO and PyTorch in one may disturb each other.
    for number, purposes in enumerate((("segment", "dicom"), ("train",))):
        wanted = [requirement for requirement in REQUIREMENTS if requirement.purpose in purposes]
        packages += inspect_packages(wanted, try_import="segment" in purposes or not quick)
        reporter.progress("examine", 2 + number, 4)
        check()
    speed = Speed() if quick else measure_speed()
    reporter.progress("examine", 4, 4)
    return Examination(processor, memory, graphics, tuple(packages), speed, tuple(advise(packages, graphics, memory)))


def format_examination(found: Examination) -> str:
    """The examination as text for people."""
    lines = [f"mimseg {__version__}, Python {platform.python_version()}, {platform.platform()}", ""]
    lines += [f"{title:11}{text}" for title, text in _hardware(found)]
    for purpose, title in (
        ("segment", "Packages for segmenting"),
        ("dicom", "Package for writing DICOM segmentations (not needed for anything else)"),
        ("train", "Packages for training"),
    ):
        lines += ["", title]
        for package in found.packages:
            if package.purpose == purpose:
                state = package.state + (f": {package.fault}" if package.fault else "")
                lines.append(f"  {package.name:18}{package.version:16}{state}")
    lines += ["", "This computer can"]
    lines.append(f"  segment: {'yes, with ' + ', '.join(found.engines) if found.engines else 'not yet'}")
    lines.append(f"  train:   {'yes, on ' + ', '.join(found.torch_devices) if found.can_train else 'not yet'}")
    if found.advice:
        lines += ["", "What to do"]
        for number, advice in enumerate(found.advice, start=1):
            text = f"{number}. ({advice.purpose}) {advice.problem}"
            lines += textwrap.wrap(text, 110, initial_indent="  ", subsequent_indent="     ", break_long_words=False)
            lines += [f"       {command}" for command in advice.commands]
    return "\n".join(lines)


def _hardware(found: Examination) -> list[tuple[str, str]]:
    processor, speed = found.processor, found.speed
    cores = f"{processor.usable_cores} of {processor.cores} cores usable"
    features = ", ".join(processor.features) or ("none of interest" if processor.features_known else "features unknown")
    rows = [
        ("Processor", f"{processor.name} ({processor.architecture}), {cores}, {features}"),
        ("Memory", f"{_gib(found.memory.total)}, {_gib(found.memory.free)} free"),
    ]
    cards = [
        card.name
        + (f", {_gib(card.total)}, {_gib(card.free)} free" if card.total is not None else "")
        + (f", driver {card.driver}" if card.driver else "")
        for card in found.graphics
    ]
    rows += [("Graphics", card) for card in cards or ["no card that could compute was found"]]
    measured = [
        f"{value:.0f} GFLOP/s {what}"
        for value, what in (
            (speed.matrix_gflops, "matrix product (numpy)"),
            (speed.network_gflops, "3D convolution (OpenVINO)"),
        )
        if value is not None
    ]
    rows.append(("Speed", ", ".join(measured) or "not measured"))
    if sys.platform == "win32" and not processor.features_known:
        rows.append(("Note", "Windows tells little about the processor."))
    return rows


def _gib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**30:.1f} GiB"
