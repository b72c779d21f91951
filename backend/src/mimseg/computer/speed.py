"""How fast this computer calculates, measured for about a second in a second process."""

from __future__ import annotations

from dataclasses import dataclass

from mimseg.computer.packages import run_probe


@dataclass(frozen=True)
class Speed:
    """Measured speed; None where the package is missing or broken.

    Attributes:
        matrix_gflops: float32 matrix product of numpy, in 10^9 operations per second.
        network_gflops: 3D convolution of OpenVINO on the processor, likewise.
        openvino_devices: Devices that OpenVINO finds.
        bfloat16: True if OpenVINO finds bfloat16 instructions.
    """

    matrix_gflops: float | None = None
    network_gflops: float | None = None
    openvino_devices: tuple[str, ...] = ()
    bfloat16: bool = False


def measure_speed(timeout: float = 30.0) -> Speed:
    """Measure; needs a computer that does nothing else to be right."""
    _, lines = run_probe(["speed"], timeout)
    answers = {line["name"]: line for line in lines}
    network = answers.get("network", {})
    return Speed(
        matrix_gflops=answers.get("matrix", {}).get("gflops"),
        network_gflops=network.get("gflops"),
        openvino_devices=tuple(network.get("devices", ())),
        bfloat16="BF16" in network.get("capabilities", ()),
    )
