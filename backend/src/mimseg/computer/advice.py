"""What is missing on a computer, and the command that mends it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mimseg.computer.graphics import GraphicsCard
from mimseg.computer.memory import Memory
from mimseg.computer.packages import Package
from mimseg.installation import pip_install

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
LITTLE_MEMORY = 4 * 2**30


@dataclass(frozen=True)
class Advice:
    """One thing to do.

    Attributes:
        purpose: What it is good for: without it `segment` or `train` fails, the others are improvements.
        problem: What is missing or wrong.
        commands: To be typed in this order; may be empty.
    """

    purpose: Literal["segment", "train", "dicom", "speed"]
    problem: str
    commands: tuple[str, ...] = ()


def advise(packages: Sequence[Package], cards: Sequence[GraphicsCard], memory: Memory) -> list[Advice]:
    """Everything worth doing, the most important first."""
    return [
        *_repairs(packages),
        *_installations(packages, cards),
        *_graphics(packages, cards),
        *_system(memory, any(package.name == "torch" and package.state == "missing" for package in packages)),
    ]


def _repairs(packages: Sequence[Package]) -> list[Advice]:
    advice = []
    for package in packages:
        if package.state != "broken":
            continue
        wanted = f'"{package.name}=={package.version}"' if package.version else f'"{package.name}>={package.minimum}"'
        arguments = f"--force-reinstall --no-deps {wanted}"
        if package.name == "torch" and package.version.endswith("+cpu"):
            arguments += f" --index-url {CPU_INDEX}"
        problem = f"{package.name} is installed but does not work: {package.fault}."
        advice.append(Advice(package.purpose, problem, pip_install(arguments)))
    return advice


def _installations(packages: Sequence[Package], cards: Sequence[GraphicsCard]) -> list[Advice]:
    wanted = {package.name: package for package in packages if package.state in ("missing", "too old")}
    advice = []
    for purpose, what in (("segment", "Segmenting"), ("train", "Training")):
        names = [name for name, package in wanted.items() if package.purpose == purpose]
        if not names:
            continue
        commands: list[str] = []
        together = [name for name in names if name != "torch"]
        if "torch" in names and _default_torch_is_huge(cards):
            commands += pip_install(f'"torch>={wanted["torch"].minimum}" --index-url {CPU_INDEX}')
        elif "torch" in names:
            together.insert(0, "torch")
        if together:
            commands += pip_install(" ".join(f'"{name}>={wanted[name].minimum}"' for name in together))
        described = ", ".join(
            f"{name} {wanted[name].version} (too old)" if wanted[name].state == "too old" else name for name in names
        )
        problem = f"{what} needs packages that are missing: {described}.{_why(names, cards)}"
        advice.append(Advice("segment" if purpose == "segment" else "train", problem, tuple(commands)))
    return advice


def _default_torch_is_huge(cards: Sequence[GraphicsCard]) -> bool:
    return sys.platform.startswith("linux") and not any(card.kind == "cuda" for card in cards)


def _why(names: Sequence[str], cards: Sequence[GraphicsCard]) -> str:
    if "torch" in names and _default_torch_is_huge(cards):
        return (
            " Without an NVIDIA card take PyTorch from its CPU index: what pip takes by default on Linux brings "
            "several GB of CUDA."
        )
    if "torch" in names and sys.platform.startswith("linux"):
        return " PyTorch with CUDA takes several GB."
    return ""


def _graphics(packages: Sequence[Package], cards: Sequence[GraphicsCard]) -> list[Advice]:
    torch = next((package for package in packages if package.name == "torch"), None)
    nvidia = [card for card in cards if card.kind == "cuda"]
    if torch is None or torch.details is None:
        return []
    advice = []
    devices = torch.details.get("devices", [])
    for device in devices:
        if not device.get("works"):
            fault = device.get("error", "wrong results")
            advice.append(
                Advice(
                    "speed",
                    f"PyTorch {torch.version} cannot compute on {device.get('name') or device['device']}: {fault}. "
                    "Update the driver, or take the PyTorch that https://pytorch.org/get-started/locally offers "
                    "for this card.",
                )
            )
    if nvidia and not devices:
        build = torch.details.get("cuda_build")
        reason = (
            f"its CUDA {build} does not fit the driver {nvidia[0].driver}: update the driver"
            if build
            else "it is a build for the processor only: install the one with CUDA that "
            "https://pytorch.org/get-started/locally shows"
        )
        problem = f"There is a {nvidia[0].name}, but PyTorch {torch.version} does not use it; {reason}."
        advice.append(Advice("speed", problem))
    return advice


def _system(memory: Memory, before_torch: bool) -> list[Advice]:
    advice = []
    if memory.free is not None and memory.free < LITTLE_MEMORY:
        problem = f"Only {memory.free / 2**30:.1f} GiB of memory are free: close other programs before large volumes."
        advice.append(Advice("speed", problem))
    if before_torch and not _long_paths():
        problem = "Windows refuses paths of more than 260 characters, which PyTorch's installation may need."
        command = r"reg add HKLM\SYSTEM\CurrentControlSet\Control\FileSystem /v LongPathsEnabled /t REG_DWORD /d 1 /f"
        advice.append(Advice("train", problem + " As administrator:", (command,)))
    return advice


def _long_paths() -> bool:
    if sys.platform != "win32":
        return True
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
    except OSError:
        return False
