"""Looking into an ONNX network of unknown origin: what it refers to, and whether it is the network of its model.

Its parts may each be sound and not belong together: OpenVINO would fail at the first window, or take other bytes for
weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mimseg.bundle.checked_folder import ONNX_FILE, WEIGHTS_FILE
from mimseg.bundle.description import Description
from mimseg.bundle.foreign_files import Stored, refused
from mimseg.bundle.onnx_export import STORED
from mimseg.errors import UserError


class OnnxParts(NamedTuple):
    """What an ONNX network says of itself.

    Attributes:
        inputs: Shape of each input; an axis without a fixed length is None.
        outputs: Likewise.
        stored: Tensors that lie in a file beside it, by their names in the network.
    """

    inputs: list[tuple[int | None, ...]]
    outputs: list[tuple[int | None, ...]]
    stored: list[tuple[str, Stored]]


def check_onnx(path: Path, weights_name: str) -> OnnxParts:
    """Check that a file is an ONNX network of standard operators whose only other file is `weights_name` beside it.

    Returns:
        What it says of itself.

    Raises:
        UserError: It is not.
    """
    try:
        model = _fields(path.read_bytes())
        graphs = model.get(7, [])
        domains = {entry.get(1, [b""])[0] for entry in map(_fields, model.get(8, []))}
        outside = [part for graph in graphs for part in _outside(graph)]
        locations = {value for _, entries in outside for key, value in entries if key == b"location"}
    except (ValueError, IndexError, RecursionError) as fault:
        raise refused(path, "is not an ONNX network") from fault
    if len(graphs) != 1 or model.get(25) or model.get(20) or not domains <= {b"", b"ai.onnx", b"ai.onnx.ml"}:
        raise refused(path, "is not an ONNX network of standard operators only")
    foreign = sorted(location.decode(errors="replace") for location in locations - {weights_name.encode()})
    if foreign:
        raise refused(path, f"refers to another file ({', '.join(foreign)})")
    try:
        graph = _fields(graphs[0])
        # Older files name their weights among the inputs, too.
        own = {_fields(tensor).get(8, [b""])[-1] for tensor in graph.get(5, [])}
        return OnnxParts(
            [_shape(value) for value in graph.get(11, []) if _fields(value).get(1, [b""])[-1] not in own],
            [_shape(value) for value in graph.get(12, [])],
            [_place(tensor, dict(entries)) for tensor, entries in outside],
        )
    except (ValueError, IndexError, KeyError) as fault:
        raise refused(path, "does not say the shapes of its inputs, outputs or weights") from fault


def check_agreement(description: Description, network: OnnxParts, weights: Mapping[str, Stored]) -> None:
    """Check that the network has the window, channels and classes that are described, and the weights it refers to.

    Raises:
        UserError: It has not.
    """
    settings = description.network_settings
    for what, shapes, channels in (
        ("input", network.inputs, settings.channels),
        ("output", network.outputs, settings.classes),
    ):
        expected = (channels, *description.window)
        if len(shapes) != 1 or not _fits(shapes[0], expected):
            raise _contradiction(f"{ONNX_FILE} has the {what} {_listed(shapes)}, its description says {expected}")
    for name, place in network.stored:
        if weights.get(name.removesuffix(STORED)) != place:
            raise _contradiction(f"{WEIGHTS_FILE} does not hold {name} where {ONNX_FILE} looks for it")


def _fits(shape: tuple[int | None, ...], expected: tuple[int, ...]) -> bool:
    """Whether a shape, after its batch axis, is the expected one where it is fixed."""
    return len(shape) == 1 + len(expected) and all(
        length in (None, wanted) for length, wanted in zip(shape[1:], expected, strict=True)
    )


def _listed(shapes: Sequence[tuple[int | None, ...]]) -> str:
    return " and ".join(str(shape[1:]) for shape in shapes) or "none"


def _contradiction(fault: str) -> UserError:
    return UserError(
        f"The model contradicts itself: {fault}.", "It was not taken in. Get the model again.", "bad-model"
    )


def _outside(graph: bytes, depth: int = 0) -> Iterator[tuple[dict[int, list[bytes]], list[tuple[bytes, bytes]]]]:
    """Tensors with external data in a GraphProto, its nodes' attributes and their graphs: fields, and their places."""
    if depth > 8:
        raise ValueError("graphs nested too deep")
    fields = _fields(graph)
    # Tensors: initializer (5); sparse_initializer (15) with values (1) and indices (2).
    tensors = list(fields.get(5, []))
    sparse = list(fields.get(15, []))
    for node in fields.get(1, []):
        for attribute in map(_fields, _fields(node).get(5, [])):
            # AttributeProto: t 5, g 6, tensors 10, graphs 11, sparse_tensor 22, sparse_tensors 23.
            tensors += [*attribute.get(5, []), *attribute.get(10, [])]
            sparse += [*attribute.get(22, []), *attribute.get(23, [])]
            for inner in (*attribute.get(6, []), *attribute.get(11, [])):
                yield from _outside(inner, depth + 1)
    for parts in map(_fields, sparse):
        tensors += [*parts.get(1, []), *parts.get(2, [])]
    for tensor in map(_fields, tensors):
        entries = [(entry.get(1, [b""])[-1], entry.get(2, [b""])[-1]) for entry in map(_fields, tensor.get(13, []))]
        if entries:
            yield tensor, entries


def _place(tensor: dict[int, list[bytes]], place: dict[bytes, bytes]) -> tuple[str, Stored]:
    """Name of a TensorProto, and where its external data lie."""
    shape = tuple(_varints(b"".join(tensor.get(1, []))))
    return tensor[8][-1].decode(), Stored(int(place[b"offset"]), int(place[b"length"]), shape)


def _shape(value: bytes) -> tuple[int | None, ...]:
    """Of a ValueInfoProto: its type (2) is a tensor (1) with a shape (2) of axes (1)."""
    shape = _fields(_fields(_fields(value)[2][-1])[1][-1])[2][-1]
    return tuple(
        next(iter(_varints(b"".join(axis.get(1, [])))), None) for axis in map(_fields, _fields(shape).get(1, []))
    )


def _fields(message: bytes) -> dict[int, list[bytes]]:
    """Fields of a protocol-buffer message by number: the content of length-delimited ones, the bytes of whole numbers.

    Raises:
        ValueError, IndexError: The bytes are no such message.
    """
    found: dict[int, list[bytes]] = {}
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == 0:
            first = position
            _, position = _varint(message, position)
            found.setdefault(tag >> 3, []).append(message[first:position])
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        elif kind == 2:
            length, position = _varint(message, position)
            found.setdefault(tag >> 3, []).append(message[position : position + length])
            position += length
        else:
            raise ValueError(f"wire type {kind}")
        if position > len(message):
            raise ValueError("truncated")
    return found


def _varints(content: bytes) -> list[int]:
    """The whole numbers that follow on each other, as in packed fields."""
    values, position = [], 0
    while position < len(content):
        value, position = _varint(content, position)
        values.append(value)
    return values


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = message[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
        if shift > 63:
            raise ValueError("number too long")
