"""The rows of `inference.py`: what each one runs and what comes out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from inference_measuring import Measured, Runner, available_gb
from synthetic_ct import write_ct

WINDOW = [96, 96, 96]
NETWORKS = ("unetr-base", "dynunet-base", "primus-s", "primus-m", "primus-tiny")
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Row:
    """One line of the table.

    Attributes:
        work: What is done.
        peer: Whom it is compared with.
        target: What must be reached.
        seconds: Ours; None where the row is no time.
        peer_seconds: The peer's.
        megabytes: Our peak memory.
        peer_megabytes: The peer's.
        details: Everything else that was measured, by name.
    """

    work: str
    peer: str
    target: str
    seconds: float | None = None
    peer_seconds: float | None = None
    megabytes: float | None = None
    peer_megabytes: float | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Our time by the peer's."""
        return self.seconds / self.peer_seconds if self.seconds and self.peer_seconds else None

    @property
    def memory_ratio(self) -> float | None:
        """Our memory by the peer's."""
        return self.megabytes / self.peer_megabytes if self.megabytes and self.peer_megabytes else None


@dataclass(frozen=True)
class Setting:
    """What all rows share.

    Attributes:
        runner: Starts the processes.
        work: Folder for models, scans and results.
        data: Folder of the real volumes.
        scale: 1 for the full sizes.
    """

    runner: Runner
    work: Path
    data: Path
    scale: float

    def model(self, classes: int, spacing: float | None) -> Path:
        """A bundle of random weights, made once."""
        small = self.scale < 1
        folder = self.work / f"unetr-{'small' if small else 'b'}-{classes}-{spacing or 'own'}"
        if not folder.is_dir():
            window = [edge // 2 for edge in WINDOW] if small else WINDOW
            arguments = {"classes": classes, "window": window, "spacing": spacing, "small": small}
            self.runner.child("make_model", folder=str(folder), **arguments)
        return folder

    def ct(self, name: str, size: Sequence[int], spacing: Sequence[float]) -> Path:
        """A synthetic CT, made once."""
        path = self.work / f"{name}-{'x'.join(map(str, size))}.nii.gz"
        if not path.is_file():
            write_ct(path, size, spacing)
        return path

    def output(self, name: str) -> Path:
        """A file or folder for results."""
        (self.work / "results").mkdir(exist_ok=True)
        return self.work / "results" / name


def window(setting: Setting) -> list[Row]:
    """One window of UNETR-B/16 in memory, against eager PyTorch and the machine's matrix product."""
    model, threads = setting.model(14, 1.5), setting.runner.threads
    repeats = 10 if setting.scale >= 1 else 2
    peak = setting.runner.child("peak", threads=threads).findings["gflops"]
    peer = setting.runner.child("window_torch", model=str(model), threads=threads, repeats=repeats)
    rows = []
    for precision in ("f32", "bf16"):
        ours = setting.runner.child(
            "window_mimseg", model=str(model), threads=threads, repeats=repeats, precision=precision
        )
        row = _row(f"UNETR-B/16, 96^3 window, 14 classes, {precision}", "eager PyTorch, f32", "", ours, peer)
        row.seconds, row.peer_seconds = ours.findings["seconds"], peer.findings["seconds"]
        speed = peer.findings["gflop"] / row.seconds
        row.details = {
            "GFLOP": round(peer.findings["gflop"], 1),
            "GFLOP/s": round(speed, 1),
            "peak GFLOP/s": round(peak, 1),
            "time / (operations / peak)": round(peak / speed, 2),
            "largest difference of logits": f"{ours.findings['difference']:.1e}",
        }
        rows.append(row)
    rows[0].target = "<= 0.6 of the time, <= 1.4 of operations / peak"
    profile = setting.runner.child("window_profile", model=str(model), threads=threads).findings
    rows[0].details["profile, ms"] = profile["milliseconds"]
    return rows


def networks(setting: Setting) -> list[Row]:
    """One window of each network in mimseg's engine and in eager PyTorch, and of MONAI's SwinUNETR in the latter."""
    threads, repeats = setting.runner.threads, 5 if setting.scale >= 1 else 1
    # SwinUNETR wants multiples of 32.
    shape = {"classes": 14, "window": WINDOW if setting.scale >= 1 else [64, 64, 64]}
    edge, rows = shape["window"][0], []
    for name in NETWORKS if setting.scale >= 1 else NETWORKS[-1:]:
        folder = setting.work / f"{name}-{edge}"
        if not folder.is_dir():
            setting.runner.child("make_model", folder=str(folder), spacing=1.5, small=False, network=name, **shape)
        peer = setting.runner.child("window_torch", model=str(folder), threads=threads, repeats=repeats)
        ours = setting.runner.child("window_mimseg", model=str(folder), threads=threads, repeats=repeats)
        row = _row(f"{name}, {edge}^3 window, 14 classes, f32", "eager PyTorch, f32", "", ours, peer)
        row.seconds, row.peer_seconds = ours.findings["seconds"], peer.findings["seconds"]
        row.details = {
            "GFLOP": round(peer.findings["gflop"], 1),
            "peer, s": round(row.peer_seconds, 2),
            "largest difference of logits": f"{ours.findings['difference']:.1e}",
        }
        rows.append(row)
    peer = setting.runner.child("window_swin", threads=threads, repeats=repeats, **shape)
    swin = Row(f"SwinUNETR-48, {edge}^3 window, 14 classes", "eager PyTorch, f32", "")
    swin.peer_seconds, swin.peer_megabytes = peer.findings["seconds"], peer.peak_mb
    swin.details = {"GFLOP": round(peer.findings["gflop"], 1), "peer, s": round(swin.peer_seconds, 2)}
    return [*rows, swin]


def ct(setting: Setting, classes: int) -> list[Row]:
    """A CT from file to file."""
    size = [max(48, round(edge * setting.scale)) for edge in (512, 512, 300)]
    scan, model = setting.ct("ct", size, (0.8, 0.8, 1.5)), setting.model(classes, 1.5)
    mine, theirs = setting.output(f"ct{classes}.nii.gz"), setting.output(f"ct{classes}-monai.nii.gz")
    # The first start compiles and keeps the network where that pays; a user has done it before.
    ours = setting.runner.segment([scan], model, mine, "--overlap", "0.25")
    target = "<= 0.35 of the time, <= 0.25 of the memory" if classes == 14 else "< 3 GB; <= 0.3 of the time"
    row = _row(
        f"CT {'x'.join(map(str, size))} at 0.8x0.8x1.5 mm, model at 1.5 mm, {classes} classes, file to file",
        "MONAI SlidingWindowInferer 0.25 + Invertd",
        target,
        ours,
    )
    needed = _peer_memory_gb(size, classes)
    if needed > available_gb()[0]:
        row.peer += f": does not fit, needs about {needed:.0f} GB"
        return [row]
    _compare(row, setting, scan, model, mine, theirs, 0.25)
    return [row]


def crop(setting: Setting) -> list[Row]:
    """A hippocampus crop with the shipped model, cold process to file."""
    scan, model = _hippocampus(setting)[0], REPOSITORY / "Resources" / "Models" / "hippocampus-mr"
    mine, theirs = setting.output("crop.nii.gz"), setting.output("crop-monai.nii.gz")
    setting.runner.segment([scan], model, mine)
    ours = min((setting.runner.segment([scan], model, mine) for _ in range(3)), key=lambda run: run.seconds)
    row = _row("hippocampus crop, shipped model, cold process to file", "MONAI script", "<= 0.25 of the time", ours)
    _compare(row, setting, scan, model, mine, theirs, 0.5)
    return [row]


def cohort(setting: Setting) -> list[Row]:
    """Many hippocampus crops in one run, and in a run of each."""
    scans = _hippocampus(setting)[: max(3, round(20 * setting.scale))]
    model = REPOSITORY / "Resources" / "Models" / "hippocampus-mr"
    setting.runner.segment(scans[:1], model, setting.output("one.nii.gz"))
    ours = setting.runner.segment(scans, model, setting.output("cohort"))
    single = [setting.runner.segment([scan], model, setting.output("one.nii.gz")) for scan in scans]
    row = _row(f"{len(scans)} hippocampus cases in one run", f"{len(scans)} runs of one", "<= 0.3 of the time", ours)
    row.peer_seconds = sum(run.seconds for run in single)
    row.peer_megabytes = max(run.peak_mb for run in single)
    return [row]


def volume(setting: Setting) -> list[Row]:
    """1, 2, 4, 8 times as many voxels along the body: 4, 8, 16, 32 windows."""
    model = setting.model(14, None)
    rows = []
    for factor in (1, 2, 4, 8) if setting.scale >= 1 else (1, 2):
        scan = setting.ct("long", (96, 96, 288 * factor), (1.5, 1.5, 1.5))
        ours = setting.runner.segment([scan], model, setting.output("long.nii.gz"), "--overlap", "0.25")
        seconds = json.loads(ours.lines[-1])["outputs"][0]["seconds"]
        row = _row(f"96x96x{288 * factor} voxels (x{factor}), after loading", "-", "linear within 10 %", ours)
        row.seconds = seconds
        row.details["s / million voxels"] = round(seconds / (96 * 96 * 288 * factor / 1e6), 3)
        rows.append(row)
    first = rows[0].details["s / million voxels"]
    for row in rows:
        row.details["relative to x1"] = round(row.details["s / million voxels"] / first, 3)
    return rows


def pretraining(setting: Setting) -> list[Row]:
    """Steps of MAE."""
    edge, repeats = (96, 5) if setting.scale >= 1 else (48, 2)
    arguments = {"threads": setting.runner.threads, "repeats": repeats, "batch": 4, "edge": edge}
    ours = setting.runner.child("mae_steps", kind="ours", **arguments)
    peer = setting.runner.child("mae_steps", kind="monai", **arguments)
    row = _row(
        f"MAE step, ViT-B/16 {edge}^3, batch 4, ratio .75", "MONAI, decoder 512x8", "<= 0.5 of the time", ours, peer
    )
    row.seconds, row.peer_seconds = ours.findings["seconds"], peer.findings["seconds"]
    return [row]


def loading(setting: Setting) -> list[Row]:
    """Waiting for crops during pre-training."""
    edge, steps = (96, 20) if setting.scale >= 1 else (48, 4)
    for number in range(4):
        path = setting.work / "scans" / f"{number}.nii.gz"
        if not path.is_file():
            write_ct(path, (180, 180, 140), (1.5, 1.5, 1.5), number)
    output = setting.work / f"pretraining-{edge}"
    for path in sorted(output.rglob("*"), reverse=True):  # Of an earlier run; a pre-training wants an empty folder.
        path.rmdir() if path.is_dir() else path.unlink()
    arguments = {"threads": setting.runner.threads, "steps": steps, "edge": edge, "batch": 4}
    ours = setting.runner.child("loading", data=str(setting.work / "scans"), output=str(output), **arguments)
    row = _row(f"pre-training on CT crops of {edge}^3, batch 4: waiting for data", "-", "< 10 % of the time", ours)
    found = ours.findings
    row.seconds = None
    row.details = {"waited": f"{found['waited'] / (found['waited'] + found['computed']):.1%}", "steps": found["steps"]}
    return [row]


ROWS: dict[str, Callable[[Setting], list[Row]]] = {
    "window": window,
    "networks": networks,
    "ct14": lambda setting: ct(setting, 14),
    "ct117": lambda setting: ct(setting, 117),
    "crop": crop,
    "cohort": cohort,
    "volume": volume,
    "pretraining": pretraining,
    "loading": loading,
}


def _row(work: str, peer: str, target: str, ours: Measured, theirs: Measured | None = None) -> Row:
    row = Row(work, peer, target, ours.seconds, None, ours.peak_mb)
    row.details["CPU s"] = round(ours.cpu_seconds, 2)
    if theirs is not None:
        row.peer_seconds, row.peer_megabytes = theirs.seconds, theirs.peak_mb
    return row


def _compare(row: Row, setting: Setting, scan: Path, model: Path, mine: Path, theirs: Path, overlap: float) -> None:
    """Run the MONAI script and put its figures and the agreement of the labels into the row."""
    peer = setting.runner.child(
        "monai_script",
        image=str(scan),
        model=str(model),
        output=str(theirs),
        threads=setting.runner.threads,
        overlap=overlap,
    )
    row.peer_seconds, row.peer_megabytes = peer.seconds, peer.peak_mb
    row.details["peer CPU s"] = round(peer.cpu_seconds, 2)
    first, second = (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in (mine, theirs))
    row.details["labels agree"] = f"{np.mean(first == second):.4%}"


def _peer_memory_gb(size: Sequence[int], classes: int) -> float:
    """Float32 probabilities on the scan's grid, logits and probabilities on the model's, sampling grid, and PyTorch."""
    voxels = float(np.prod(size))
    working = voxels * (0.8 * 0.8 * 1.5) / 1.5**3
    return (4 * classes * (voxels + 2 * working) + 24 * voxels) / 1e9 + 1.5


def _hippocampus(setting: Setting) -> list[Path]:
    scans = sorted((setting.data / "hippocampus" / "imagesTr").glob("*.nii.gz"))
    if not scans:
        raise FileNotFoundError(f"{setting.data} holds no hippocampus/imagesTr: give --data")
    return scans
