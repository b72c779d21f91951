"""Claim (iii): does a light decoder or prediction head suffice for pre-training?"""

from __future__ import annotations

from functools import partial

from mimseg.studies.design import Design, Variant
from mimseg.studies.figures import Point, draw_cost
from mimseg.studies.findings import MISSING, Figure, Findings, Table, dice_cells, make_verdict, minutes, say
from mimseg.studies.plan import Plan
from mimseg.studies.results import Group, Results

QUESTION = "Does a light decoder (MAE) or head (SimMIM) suffice, and what does it save?"


def variants(design: Design) -> tuple[Variant, ...]:
    """MAE with every decoder, SimMIM with every head."""
    decoders = [
        Variant(
            f"MAE decoder {width}×{layers}",
            {"method": "MAE", "decoder": f"{width}×{layers}"},
            "mae",
            {"decoder_size": width, "decoder_layers": layers, "decoder_heads": heads},
        )
        for width, layers, heads in design.decoders
    ]
    heads = [
        Variant(
            f"SimMIM head {head.replace('_', ' ')}",
            {"method": "SimMIM", "decoder": head.replace("_", " ")},
            "simmim",
            {"head": head},
        )
        for head in design.heads
    ]
    return (*decoders, *heads)


def comparisons_of(plan: Plan) -> list[Group]:
    """The lightest decoder against each heavier one, the linear head against each other one."""
    groups: list[Group] = []
    for method in ("MAE", "SimMIM"):
        own = sorted((row for row in plan.variants if row.factors["method"] == method), key=_weight)
        groups += [(own[0].name, own[:1], row.name, [row]) for row in own[1:]]
    return groups


def conclude(results: Results) -> Findings:
    """What `comparisons_of` asks, and what the lightest decoder saves."""
    comparisons, impossible = results.compare(comparisons_of(results.plan))
    return Findings(
        verdict=make_verdict(results, [*say(comparisons), *_savings(results)], impossible),
        tables=(_table(results),),
        figures=_figures(results),
        comparisons=tuple(comparisons),
        definitions=(
            "Comparisons were fixed beforehand: the lightest MAE decoder against each heavier one, and the linear "
            "SimMIM head against each other one. “No difference shown” is not proof of equality: the interval says "
            "how large a difference the data leave open.",
            "Encoder parameters are those that fine-tuning takes over; decoder parameters are thrown away. GFLOP, "
            "seconds and memory are those of one pre-training step: arithmetic of the forward and backward pass as "
            "counted, seconds of the whole run with its validations divided by its steps, memory as counted for "
            "weights, gradients, optimiser, average and what is kept for the backward pass, not as occupied by the "
            "process.",
            "All variants of a method start from the same random encoder and see the same crops in the same order.",
            "Losses are comparable within MAE and within SimMIM.",
        ),
    )


def _weight(row: Variant) -> tuple[int, int, str]:
    """Sorts by size: width squared times blocks; a linear head before others."""
    settings = row.method_settings
    if "head" in settings:
        return int(settings["head"] != "linear"), 0, settings["head"]
    return settings["decoder_size"] ** 2 * settings["decoder_layers"], settings["decoder_size"], ""


def _savings(results: Results) -> list[str]:
    """What the lightest MAE decoder costs, as a share of the heaviest."""
    own = sorted((row for row in results.plan.variants if row.factors["method"] == "MAE"), key=_weight)
    light, heavy = (results.pretraining(own[index]) if len(own) > 1 else None for index in (0, -1))
    if light is None or heavy is None:
        return []
    share = light.cost["gflop_per_step"] / heavy.cost["gflop_per_step"]
    return [f"a step with {own[0].name} takes {share:.0%} of the arithmetic of {own[-1].name}"]


def _table(results: Results) -> Table:
    rows = []
    for row in results.plan.variants:
        run = results.pretraining(row)
        cost = (MISSING,) * 6
        if run is not None:
            cost = (
                f"{run.cost['encoder_parameters'] / 1e6:.2f}",
                f"{run.cost['decoder_parameters'] / 1e6:.2f}",
                f"{run.cost['gflop_per_step']:.1f}",
                f"{run.seconds / run.steps:.2f}",
                f"{run.cost['memory_bytes'] / 1e6:.0f}",
                f"{run.best_loss:.4f}",
            )
        rows.append((row.name, *cost, minutes(run), *dice_cells(results, row)))
    columns = (
        "pre-training", "encoder, 10⁶ parameters", "decoder, 10⁶ parameters", "GFLOP a step", "s a step",
        "memory MB", "loss", "minutes", "Dice [95 % interval]", "range over seeds",
    )  # fmt: skip
    return Table("Decoders and heads", columns, tuple(rows))


def _figures(results: Results) -> tuple[Figure, ...]:
    points = [
        Point(str(row.factors["decoder"]), run.cost["gflop_per_step"], found, str(row.factors["method"]))
        for row in results.plan.variants
        if (run := results.pretraining(row)) is not None and (found := results.estimate(row)) is not None
    ]
    if not points:
        return ()
    draw = partial(draw_cost, points=points, label="GFLOP a pre-training step", floor=results.plan.design.floor)
    caption = "Dice after fine-tuning over the cost of pre-training (MAE blue, SimMIM green); bars: range over seeds."
    return (Figure("cost", caption, draw),)
