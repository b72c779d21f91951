"""Which number tells volumes that a model was not made for from those it was made for? (issue 5, item 6)

    python Testing/benchmarks/out_of_domain.py SHARED/data WORK --pretraining RUN [--publish]

Normal: the hippocampus volumes of `validation`. Shifted: the same volumes spoiled, and crops of the same size from
other scans. Measured by the area under the ROC curve (0.5: no better than chance, 1: separates perfectly) of

    reconstruction     mean absolute error of the MAE decoder on hidden patches, over fixed masks; needs PyTorch
    features           mean distance to the nearest feature vectors of volumes to compare with (the pool)
    features, few      likewise, of five labelled cases only (a few-shot list); mean over the five lists
    features, Mahalanobis   with a shrunken covariance of the pool's feature vectors
    histogram          distance of intensity deciles to the pool's mean deciles
    uncertainty, disagreement, entropy     as in mimseg/commands/rank/scores.py
    volume             distance of the logarithm of the predicted volume from the pool's mean

RUN is a MAE pre-training on the pool, e.g. `mimseg pretrain imagesTr --cases splits.json:pool --window 40,56,40
--spacing 1 --modality MR --minutes 20 --batch 16`. Finished volumes are kept in WORK and not computed again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from out_of_domain_volumes import volumes

from mimseg.bundle.locations import find_bundle
from mimseg.bundle.reader import Bundle, open_bundle
from mimseg.commands.rank.domain import odd_ones
from mimseg.commands.rank.members import probabilities_of, views_of
from mimseg.commands.rank.scores import Members
from mimseg.data.preprocessing import Prepared, prepare
from mimseg.data.volume import Volume
from mimseg.inference.features import FeatureEngine

HERE = Path(__file__).resolve().parent
PUBLISHED = HERE.parents[1] / "Resources" / "Studies" / "out-of-domain"
MASKS = 2
NEIGHBOURS = 3


class Measuring:
    """The model and the pre-training run at work."""

    def __init__(self, bundle: Bundle, pretraining: Path | None) -> None:
        self.bundle = bundle
        self.engine = FeatureEngine(bundle, 1)
        self.rebuild = reconstruction_error(pretraining) if pretraining else None

    def __call__(self, volume: Volume, all_scores: bool) -> dict[str, object]:
        """All numbers of a volume; of the volumes to compare with only what is needed of them."""
        description = self.bundle.description
        prepared = prepare(volume, description.preprocessing)
        members = Members(description.multilabel)
        features: NDArray[np.float32] | None = None
        for view in views_of(description):
            if view.name == "plain" or (all_scores and view.name == "shifted"):
                members.add(probabilities_of(view, prepared, description, self.engine))
                features = self.engine.take() if features is None else features
        doubt, _, _ = members.judge()
        inside = prepared.array[:, prepared.foreground] if prepared.foreground is not None else prepared.array
        return {
            "features": [round(float(value), 5) for value in (features if features is not None else ())],
            "deciles": [round(float(value), 4) for value in np.percentile(inside, np.arange(5, 100, 10))],
            "log_volume": float(np.log(doubt.voxels + 1.0)),
            "uncertainty": doubt.uncertainty,
            "disagreement": doubt.disagreement,
            "entropy": doubt.entropy,
            **({"reconstruction": self.rebuild(prepared)} if self.rebuild and all_scores else {}),
        }


def reconstruction_error(run: Path) -> Callable[[Prepared], float]:
    """Error of the MAE decoder of a pre-training run on hidden patches, mean over `MASKS` masks."""
    import torch

    from mimseg.networks.methods import load_method, method_settings
    from mimseg.networks.settings import NetworkSettings, pretrainable
    from mimseg.training.checkpoints import load_checkpoint

    torch.set_num_threads(1)
    said = json.loads((run / "pretraining.json").read_text(encoding="utf-8"))
    settings = NetworkSettings.from_json(said["network"])
    chosen = method_settings("mae", said["provenance"]["method_settings"])
    network = load_method("mae")(pretrainable(settings), chosen)
    weights = load_checkpoint(run / "checkpoint.pt")["average"]
    state = {name.removeprefix("module."): value for name, value in weights.items() if name.startswith("module.")}
    network.load_state_dict(state)
    network.eval()

    def error(prepared: Prepared) -> float:
        crop = torch.from_numpy(fitted(prepared.array, settings.window))[None]
        losses = []
        with torch.no_grad():
            for seed in range(MASKS):
                hidden = network.draw_mask(1, torch.Generator().manual_seed(seed))
                losses.append(float(network(crop, hidden)))
        return float(np.mean(losses))

    return error


def fitted(array: NDArray[np.float32], window: tuple[int, int, int]) -> NDArray[np.float32]:
    """The middle of `array` `(C, x, y, z)`, with zeros around it where it is smaller than the window."""
    out = np.zeros((array.shape[0], *window), np.float32)
    source, target = [slice(None)], [slice(None)]
    for edge, w in zip(array.shape[1:], window, strict=True):
        cut, gap = max(edge - w, 0) // 2, max(w - edge, 0) // 2
        source.append(slice(cut, cut + min(edge, w)))
        target.append(slice(gap, gap + min(edge, w)))
    out[tuple(target)] = array[tuple(source)]
    return out


def auroc(normal: NDArray[np.float64], shifted: NDArray[np.float64]) -> float:
    """Chance that a shifted volume has the larger number; ties count half."""
    difference = shifted[:, None] - normal[None]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def scored(measured: dict[str, dict], few: list[list[str]]) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Score -> kind -> its number for each volume."""
    kinds: dict[str, list[dict]] = {}
    for key, values in measured.items():
        kinds.setdefault(key.split("/", 1)[0], []).append(values)
    pool = kinds.pop("pool")
    vectors = np.array([values["features"] for values in pool])
    by_name = {key.split("/", 1)[1]: values for key, values in measured.items() if key.startswith("pool/")}
    lists = [np.array([by_name[name]["features"] for name in names]) for names in few]
    centre = vectors.mean(axis=0)
    covariance = np.cov(vectors.T)
    covariance = 0.9 * covariance + 0.1 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    inverse = np.linalg.inv(covariance)
    deciles = np.array([values["deciles"] for values in pool]).mean(axis=0)
    log_volumes = np.array([values["log_volume"] for values in pool])
    scores: dict[str, dict[str, NDArray[np.float64]]] = {}
    for kind, rows in kinds.items():
        features = np.array([row["features"] for row in rows])
        moved = features - centre
        found = {
            "features": _nearest(features, vectors),
            "features, few": np.mean([_nearest(features, chosen, 1) for chosen in lists], axis=0),
            "features, Mahalanobis": np.sqrt(np.einsum("ij,jk,ik->i", moved, inverse, moved)),
            "histogram": np.abs(np.array([row["deciles"] for row in rows]) - deciles).mean(axis=1),
            "volume": np.abs(np.array([row["log_volume"] for row in rows]) - log_volumes.mean()),
        }
        for name in (
            "uncertainty",
            "soft Dice error",
            "disagreement",
            "mutual information",
            "entropy",
            "reconstruction",
        ):
            if all(name in row for row in rows):
                found[name] = np.array([row[name] for row in rows])
        for name, numbers in found.items():
            scores.setdefault(name, {})[kind] = np.asarray(numbers, float)
    return scores


def _nearest(features: NDArray, references: NDArray, neighbours: int = NEIGHBOURS) -> NDArray[np.float64]:
    distances = np.sqrt(((features[:, None] - references[None]) ** 2).sum(axis=2))
    return np.sort(distances, axis=1)[:, :neighbours].mean(axis=1)


def report(scores: dict[str, dict[str, NDArray[np.float64]]], command: str) -> tuple[str, dict]:
    """Markdown and JSON."""
    table = {
        name: {kind: auroc(kinds["normal"], numbers) for kind, numbers in kinds.items() if kind != "normal"}
        for name, kinds in scores.items()
    }
    counts = {kind: len(numbers) for kind, numbers in next(iter(scores.values())).items()}
    order = sorted(table, key=lambda name: -float(np.mean(list(table[name].values()))))
    head = "| shift (volumes) | " + " | ".join(order) + " |"
    lines = ["# Area under the ROC curve: shifted against normal volumes", "", head, "|" + "---|" * (len(order) + 1)]
    for kind in (kind for kind in counts if kind != "normal"):
        lines.append(f"| {kind} ({counts[kind]}) | " + " | ".join(f"{table[name][kind]:.2f}" for name in order) + " |")
    for title, function in (("mean", np.mean), ("worst", np.min)):
        cells = " | ".join(f"**{function(list(table[name].values())):.2f}**" for name in order)
        lines.append(f"| **{title}** | {cells} |")
    warned = warnings(scores["uncertainty"])
    shares = "; ".join(f"{kind}: {share:.0%}" for kind, share in warned.items())
    text = "\n".join(lines) + (
        f"\n\n{counts['normal']} normal volumes. What `mimseg rank` warns of (uncertainty far above most others, "
        f"see rank_domain.py), each shifted volume alone among the normal ones: {shares}.\n\n"
        "One model on one task and few volumes (their numbers stand in the first column; they differ where measuring "
        "was stopped early), on which the limit of the warning was chosen, too: a model that is less sure of usual "
        f"cases may separate less.\n\nCommand: `{command}`\n"
    )
    return text, {"auroc": table, "warned": warned, "volumes": counts, "command": command}


def warnings(uncertainty: dict[str, NDArray[np.float64]]) -> dict[str, float]:
    """Share of each kind that `mimseg rank` warns of, one shifted volume at a time among the normal ones."""
    normal = list(uncertainty["normal"])
    shares = {"normal": float(np.mean([told is not None for told in odd_ones(normal)]))}
    for kind, values in uncertainty.items():
        if kind != "normal":
            shares[kind] = float(np.mean([odd_ones([*normal, value])[-1] is not None for value in values]))
    return shares


def main() -> int:
    """Measure what is missing, then print (and publish) the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--model", default="hippocampus-mr")
    parser.add_argument("--pretraining", type=Path)
    parser.add_argument("--per-kind", type=int, default=10)
    parser.add_argument("--pool", type=int, default=60, help="volumes to compare with")
    parser.add_argument("--kinds", default="", help="measure only kinds with this in their name")
    parser.add_argument("--report-only", action="store_true", help="measure nothing, show what there is")
    parser.add_argument("--publish", action="store_true")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    measured: dict[str, dict] = {}
    measure = None
    began = time.process_time()
    for kind, name, read in volumes(options.data, options.per_kind, options.pool):
        file = options.work / f"{re.sub(r'[^A-Za-z0-9.]+', '-', kind)}.{name}.json"
        if not file.is_file() and options.kinds in kind and not options.report_only:
            measure = measure or Measuring(open_bundle(find_bundle(options.model)), options.pretraining)
            temporary = file.with_suffix(".part")
            temporary.write_text(json.dumps(measure(read(), kind != "pool")), encoding="utf-8")
            os.replace(temporary, file)
        if file.is_file():
            measured[f"{kind}/{name}"] = json.loads(file.read_text(encoding="utf-8"))
    if not any(key.split("/")[0] not in ("normal", "pool") for key in measured):
        sys.stdout.write("No shifted volume was measured yet.\n")
        return 0
    splits = json.loads((options.data / "hippocampus" / "splits.json").read_text(encoding="utf-8"))
    few = [splits["few_shot"][f"seed{seed}"]["5"] for seed in range(5)]
    command = (
        "python Testing/benchmarks/out_of_domain.py SHARED/data WORK --pretraining RUN "
        f"--per-kind {options.per_kind} --pool {options.pool} --publish"
    )
    text, content = report(scored(measured, few), command)
    content["model"] = options.model if Path(options.model).name == options.model else "another"
    if options.pretraining:
        said = json.loads((options.pretraining / "pretraining.json").read_text(encoding="utf-8"))["provenance"]
        content["pretraining"] = {name: said.get(name) for name in ("method", "budget", "batch", "steps", "volumes")}
    sys.stdout.write(f"{text}\n{time.process_time() - began:.0f} s of processor time\n")
    if options.publish:
        PUBLISHED.mkdir(parents=True, exist_ok=True)
        (PUBLISHED / "auroc.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
