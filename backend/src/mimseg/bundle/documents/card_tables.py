"""Tables of the model card, in Markdown."""

from __future__ import annotations

from typing import Any


def rendered(value: dict[str, Any], level: int = 3) -> str:
    """Nested results as tables: numbers together, like records as rows, everything else under its own heading.

    Args:
        level: Of the headings.
    """
    plain = {name: _joined(item) for name, item in value.items() if _joined(item) is not None}
    parts = []
    if plain:
        parts.append(table(["", ""], [[_words(name), item] for name, item in plain.items()]))
    # Long tables of single cases come last.
    for name, item in sorted(value.items(), key=lambda entry: isinstance(entry[1], list)):
        heading = f"{'#' * level} {_words(name)[:1].upper()}{_words(name)[1:]}"
        if isinstance(item, dict) and item:
            complete = all(isinstance(inner, dict) for inner in item.values())
            records = _records([{"": key, **inner} for key, inner in item.items()]) if complete else ""
            body = records or rendered(item, min(level + 1, 6))
        elif isinstance(item, list) and item and all(isinstance(inner, dict) for inner in item):
            body = _records(item)
        else:
            continue
        if body:
            parts.append(f"{heading}\n\n{body}")
    return "\n\n".join(parts)


def _joined(value: Any) -> Any:
    """A simple value, or a few numbers (an interval, a size) in one text; None for everything else."""
    if isinstance(value, list) and 0 < len(value) <= 4 and all(type(item) in (int, float) for item in value):
        return ", ".join(_cell(item) for item in value)
    return None if isinstance(value, (dict, list)) else value


def _records(records: list[dict[str, Any]]) -> str:
    """Records of simple values as one table, or nothing if some value is not simple."""
    if not records or any(isinstance(value, (dict, list)) for record in records for value in record.values()):
        return ""
    columns = list(dict.fromkeys(name for record in records for name in record))
    return table([_words(name) for name in columns], [[record.get(name) for name in columns] for record in records])


def table(head: list[str], rows: list[list[Any]]) -> str:
    """A table with its head."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _words(name: str) -> str:
    return str(name).replace("_", " ")
