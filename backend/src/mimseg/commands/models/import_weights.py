"""Take in weights of another program: an encoder becomes a pre-training run, a UNETR becomes a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mimseg.bundle.description import Description, check_name
from mimseg.bundle.locations import user_folder
from mimseg.bundle.reader import Bundle
from mimseg.bundle.writer import write_bundle
from mimseg.commands.finetune.record import default_name
from mimseg.commands.models.import_inputs import ImportInputs, decide_inputs
from mimseg.commands.models.import_settings import ImportSettings
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.importers import auto3dseg, identify, monai_bundle, nnssl_plan
from mimseg.importers.checkpoint_file import Checkpoint, read_checkpoint
from mimseg.importers.declarations import Declared
from mimseg.importers.found import Converted
from mimseg.importers.network_shape import ShapeHints, read_shape, with_convolution
from mimseg.importers.source_files import SourceFiles, open_source
from mimseg.networks.settings import NetworkSettings
from mimseg.networks.unetr_settings import UnetrSettings
from mimseg.networks.weights import weights_of
from mimseg.training.start.pretrained_run import PretrainedRun, write_pretrained
from mimseg.training.start.transfer import TransferReport, transfer

UNSTATED = "Not stated"
_DEFAULTS = (
    "mimseg has the ViT and UNETR that MONAI builds by default: instance normalisation without parameters, conv_block "
    "and res_block on."
)


@dataclass(frozen=True)
class Imported:
    """What an import made.

    Attributes:
        path: The folder of the run or the model.
        bundle: The model, or None if the file held an encoder only.
        source: What kind of file it was.
        report: What happened to each tensor.
        notes: What was assumed or could not be taken over.
    """

    path: Path
    bundle: Bundle | None
    source: str
    report: TransferReport
    notes: tuple[str, ...]


def import_weights(settings: ImportSettings, reporter: Reporter) -> Imported:
    """Import weights; what is written is complete or not there.

    Raises:
        UserError: The file is unsafe, unknown, incomplete or of a network that ours cannot equal, something that the
            file does not say was not given, or the target exists.
    """
    with open_source(settings.source) as files:
        checkpoint = read_checkpoint(files.weights)
    declared = read_declared(files, checkpoint)
    importer, found = identify(checkpoint, settings.importer, settings.prefix)
    converted = importer.convert(found)
    target = _target(settings, files.name, converted.segments)
    hints = ShapeHints(settings.window or declared.window, settings.heads or declared.heads, settings.patch_size)
    shape, assumed = getattr(importer, "read_shape", read_shape)(converted.tensors, hints)
    _refuse_other_sizes(declared, shape, files.name)
    if hasattr(importer, "adapt"):
        converted = replace(converted, tensors=importer.adapt(converted.tensors, shape))
    source = f"{importer.TITLE} in a {declared.kind}" if declared.kind else importer.TITLE
    inputs = decide_inputs(settings, declared, converted.segments, shape)
    network, report = converted_network(converted, shape, source, settings.allow_incomplete)
    warnings = (*assumed, *declared.notes, *inputs.notes)
    notes = (*converted.notes, *warnings)
    record = {"from": source, "sha256": checkpoint.sha256, "notes": " ".join(notes), "transfer": report.to_json()}
    for line in (report.summary(), *converted.notes):
        reporter.info(line)
    for warning in warnings:
        reporter.warning("import", warning)
    bundle = None
    if converted.segments:
        description = _describe(settings, declared, inputs, shape, target.name, source, record)
        # In full precision: the weights stay as they are in the file.
        bundle = write_bundle(target, network, description, half=False)
    else:
        collection = nnssl_plan.known(files.name)
        licence = collection.licence if collection and settings.licence == UNSTATED else settings.licence
        provenance = {"method": "imported", "licence": licence, "citation": declared.citation, **record}
        target.mkdir(parents=True, exist_ok=True)
        prefix = f"{shape.encoder}."
        encoder = {name: tensor for name, tensor in weights_of(network).items() if name.startswith(prefix)}
        write_pretrained(target, PretrainedRun(shape, inputs.preprocessing, inputs.modality, provenance), encoder)
    return Imported(target, bundle, source, report, notes)


def read_declared(files: SourceFiles, checkpoint: Checkpoint) -> Declared:
    """What the source declares beside its tensors."""
    if auto3dseg.recognise(checkpoint.content):
        return auto3dseg.read(checkpoint.content, files.declarations)
    if nnssl_plan.recognise(checkpoint.content):
        return nnssl_plan.read(checkpoint.content, files.name)
    if monai_bundle.recognise(files.declarations):
        return monai_bundle.read(files.declarations)
    return Declared()


def converted_network(
    converted: Converted, shape: NetworkSettings, source: str, allow_incomplete: bool = False
) -> tuple[nn.Module, TransferReport]:
    """The network with the converted weights; of an encoder alone the decoder is random.

    Raises:
        UserError: Something is missing, or the weights belong to a network that computes something else.
    """
    torch.manual_seed(0)
    network = shape.build().eval()
    tensors = converted.tensors
    if isinstance(shape, UnetrSettings):
        tensors = with_convolution(tensors, shape)
    _refuse_unknown(tensors, network, source)
    report = transfer(network, shape, tensors, shape, source, allow_incomplete)
    if converted.segments and (report.random or report.missing):
        absent = report.random + report.missing
        raise UserError(
            f"{len(absent)} tensors of the segmentation network are missing, for example {absent[0]}.",
            _DEFAULTS,
            "unsupported-network",
        )
    report.dropped.update(converted.dropped)
    return network, report


def _refuse_other_sizes(declared: Declared, shape: NetworkSettings, name: str) -> None:
    """What is declared of a network, its heads among it, cannot be trusted if it is another one's."""
    wrong = [
        f"{size} {value}, where its tensors have {getattr(shape, size)}"
        for size, value in declared.sizes.items()
        if getattr(shape, size) != value
    ]
    if wrong:
        raise UserError(
            f"{name} contradicts itself: it declares {'; '.join(wrong)}.",
            "Get the file again, or import the one that its declarations belong to.",
            "bad-weights",
        )


def _refuse_unknown(tensors: dict[str, Tensor], network: nn.Module, source: str) -> None:
    """Tensors that our network has no use for would be missing in what it computes."""
    own = network.state_dict()
    unknown = [name for name in tensors if name not in own]
    if unknown:
        raise UserError(
            f"{source}: this network has {len(unknown)} tensors that ours lacks, for example {unknown[0]}; its outputs "
            "would differ.",
            _DEFAULTS,
            "unsupported-network",
        )


def _target(settings: ImportSettings, name: str, segments: bool) -> Path:
    """The folder to write, which is free."""
    if not segments:
        if settings.output is None:
            raise UserError(
                "The file holds an encoder, which becomes a pre-training run.",
                "Name its folder: mimseg models import FILE OUT.",
                "usage",
            )
        if settings.output.exists() and (not settings.output.is_dir() or any(settings.output.iterdir())):
            raise UserError(f"{settings.output} exists and is not empty.", "Choose another folder.", "output-exists")
        return settings.output
    chosen = settings.name or default_name(settings.output or Path(name))
    check_name(chosen)
    target = settings.output or user_folder() / chosen
    if target.exists() and not settings.replace:
        raise UserError(f"There is a model {target.name} already.", "Give --replace or another --name.", "model-exists")
    return target


def _describe(
    settings: ImportSettings,
    declared: Declared,
    inputs: ImportInputs,
    shape: NetworkSettings,
    folder_name: str,
    source: str,
    record: dict[str, Any],
) -> Description:
    structures = ", ".join(label.name for label in inputs.labels)
    description = Description(
        name=settings.name or default_name(Path(folder_name)),
        title=settings.title or declared.title or f"{structures} on {inputs.modality}",
        description=declared.description or f"Imported: {source}.",
        version=declared.version or "1.0.0",
        modality=inputs.modality,
        channels=inputs.channels,
        preprocessing=inputs.preprocessing,
        window=shape.window,
        labels=inputs.labels,
        network=shape.to_json(),
        multilabel=inputs.multilabel,
        training={"imported": record},
        licence=settings.licence,
        attribution=declared.attribution,
        citation=declared.citation,
    )
    return replace(description, overlap=declared.overlap) if declared.overlap is not None else description
