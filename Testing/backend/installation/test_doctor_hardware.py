"""Processor, memory and graphics cards, from what the systems tell of them."""

from __future__ import annotations

import sys

import pytest

from mimseg.computer import graphics, memory, processor
from mimseg.computer.graphics import GraphicsCard, parse_nvidia_smi
from mimseg.computer.memory import Memory
from mimseg.computer.processor import describe_processor
from mimseg.computer.speed import measure_speed


def test_linux_processor_and_its_features_are_read(monkeypatch: pytest.MonkeyPatch):
    texts = {
        "/proc/cpuinfo": "processor\t: 0\nmodel name\t: Some Xeon\nflags\t\t: fpu avx2 avx512f avx512_bf16 amx_bf16\n"
    }
    monkeypatch.setattr(processor.sys, "platform", "linux")
    monkeypatch.setattr(processor, "read_text", lambda path: texts.get(path, ""))
    found = describe_processor()
    assert found.name == "Some Xeon"
    assert found.features == ("AVX2", "AVX-512", "AVX-512 bf16", "AMX bf16")
    assert found.fast_bfloat16


def test_arm_processor_of_macos_is_read(monkeypatch: pytest.MonkeyPatch):
    listing = (
        "machdep.cpu.brand_string: Apple M2\nhw.optional.arm.FEAT_BF16: 1\nhw.optional.neon: 1\nhw.optional.x: 0\n"
    )
    monkeypatch.setattr(processor.sys, "platform", "darwin")
    monkeypatch.setattr(processor, "output_of", lambda *command, **options: listing)
    found = describe_processor()
    assert (found.name, found.features) == ("Apple M2", ("NEON", "ARM bf16"))


def test_intel_processor_of_macos_is_read(monkeypatch: pytest.MonkeyPatch):
    listing = "machdep.cpu.brand_string: Intel i7\nmachdep.cpu.leaf7_features: AVX2 SMEP\nhw.optional.avx512f: 0\n"
    monkeypatch.setattr(processor.sys, "platform", "darwin")
    monkeypatch.setattr(processor, "output_of", lambda *command, **options: listing)
    found = describe_processor()
    assert found.features == ("AVX2",)
    assert not found.fast_bfloat16


def test_unknown_system_gives_little_and_does_not_fail(monkeypatch: pytest.MonkeyPatch):
    for module in (processor, memory):
        monkeypatch.setattr(module.sys, "platform", "plan9")
        monkeypatch.setattr(module, "read_text", lambda path: "")
        monkeypatch.setattr(module, "output_of", lambda *command, **options: "")
    found = describe_processor()
    assert not found.features_known
    assert found.usable_cores >= 1
    memory.describe_memory()


def test_container_limits_of_cores_and_memory_count(monkeypatch: pytest.MonkeyPatch):
    texts = {
        "/proc/meminfo": "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:   12000000 kB\n",
        "/sys/fs/cgroup/memory.max": "2048000000\n",
        "/sys/fs/cgroup/memory.current": "1024000000\n",
        "/sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 24000000\n",
        "/sys/fs/cgroup/cpu.max": "50000 100000\n",
    }
    for module in (processor, memory):
        monkeypatch.setattr(module.sys, "platform", "linux")
        monkeypatch.setattr(module, "read_text", lambda path: texts.get(path, ""))
    assert processor.usable_cores() == 1
    assert memory.describe_memory() == Memory(2048000000, 2048000000 - 1024000000 + 24000000)
    del texts["/sys/fs/cgroup/memory.max"]
    assert memory.describe_memory() == Memory(16000000 * 1024, 12000000 * 1024)


JOB = "/slurm/job_1/step_0"
V1, V2 = "/sys/fs/cgroup/memory/slurm/job_1", "/sys/fs/cgroup/slurm/job_1"


@pytest.mark.parametrize(
    "texts",
    [
        {
            "/proc/self/cgroup": f"0::{JOB}\n",
            f"{V2}/memory.max": "2048000000\n",
            f"{V2}/memory.current": "1024000000\n",
            f"{V2}/memory.stat": "inactive_file 24000000\n",
            f"{V2}/step_0/memory.max": "max\n",
        },
        {
            "/proc/self/cgroup": f"5:cpu,cpuacct:/other\n4:memory:{JOB}\n0::/\n",
            f"{V1}/memory.limit_in_bytes": "2048000000\n",
            f"{V1}/memory.usage_in_bytes": "1024000000\n",
            f"{V1}/memory.stat": "inactive_file 1\ntotal_inactive_file 24000000\n",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    ],
    ids=["version 2", "version 1"],
)
def test_limits_of_the_job_that_this_process_is_in_count(texts: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    texts = {**texts, "/proc/meminfo": "MemTotal: 16000000 kB\nMemAvailable: 12000000 kB\n",
             f"{V2}/cpu.max": "50000 100000\n"}  # fmt: skip
    for module in (processor, memory):
        monkeypatch.setattr(module.sys, "platform", "linux")
        monkeypatch.setattr(module, "read_text", lambda path: texts.get(path, ""))
    assert memory.describe_memory() == Memory(2048000000, 2048000000 - 1024000000 + 24000000)
    if "memory:" not in texts["/proc/self/cgroup"]:
        assert processor.usable_cores() == 1


def test_memory_of_macos_is_read(monkeypatch: pytest.MonkeyPatch):
    answers = {
        "sysctl": "17179869184\n",
        "vm_stat": "Mach Virtual Memory Statistics: (page size of 16384 bytes)\nPages free:        100.\n"
        "Pages active:      7.\nPages inactive:    50.\n",
    }
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    monkeypatch.setattr(memory, "output_of", lambda *command, **options: answers[command[0]])
    assert memory.describe_memory() == Memory(17179869184, 150 * 16384)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="compared with Linux' own numbers")
def test_memory_of_this_computer_is_that_of_psutil():
    psutil = pytest.importorskip("psutil")
    found, expected = memory.describe_memory(), psutil.virtual_memory()
    assert found.total is not None
    assert found.free is not None
    assert found.total <= expected.total
    assert found.free <= expected.available + 2**30


def test_graphics_cards_are_read_from_the_drivers_table(monkeypatch: pytest.MonkeyPatch):
    assert parse_nvidia_smi("NVIDIA H200, 143771, 143166, 570.1, 9.0\nNVIDIA T400, 2048, [N/A], 390.1\nrubbish\n") == [
        GraphicsCard("NVIDIA H200", "cuda", 143771 * 2**20, 143166 * 2**20, "570.1", "9.0"),
        GraphicsCard("NVIDIA T400", "cuda", 2048 * 2**20, None, "390.1", ""),
    ]
    monkeypatch.setattr(graphics.sys, "platform", "darwin")
    monkeypatch.setattr(graphics.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(graphics, "output_of", lambda *command, **options: "")
    assert [card.kind for card in graphics.describe_graphics()] == ["mps"]


def test_speed_is_measured_in_about_a_second():
    pytest.importorskip("openvino")
    speed = measure_speed()
    assert speed.matrix_gflops is not None
    assert speed.matrix_gflops > 0.1
    assert speed.network_gflops is not None
    assert speed.network_gflops > 0.1
    assert "CPU" in speed.openvino_devices
