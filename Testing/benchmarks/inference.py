"""Speed and memory of mimseg beside the usual ways: the table of the README.

    python Testing/benchmarks/inference.py                        # everything; an hour on two cores
    python Testing/benchmarks/inference.py --rows window,crop,cohort
    python Testing/benchmarks/inference.py --rows ct14 --scale 0.3  # a small version, to try the benchmark

Work and peer run one after the other with the same weights, in float32, on the same number of threads, each in a
process of its own, whose peak memory is the system's figure. CTs are made up (`synthetic_ct.py`), hippocampus crops
are real. Let nothing else run: the seconds are wall time. `inference.json` and `inference.md` are written into the
output folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from inference_measuring import SOURCES, Runner, machine

sys.path.insert(0, str(SOURCES))

from inference_rows import REPOSITORY, ROWS, Row, Setting


def main() -> int:
    """Run the rows that were asked for, print and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS), help="separated by commas")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="of the sizes; below 1 to try it, with a small network",
    )
    parser.add_argument("--work", type=Path, default=Path("benchmark-work"), help="folder for models, scans, results")
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data")
    parser.add_argument("--output", type=Path, default=Path("benchmark-results"))
    arguments = parser.parse_args()
    names = arguments.rows.split(",")
    unknown = sorted(set(names) - set(ROWS))
    if unknown:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    work = arguments.work.resolve()
    setting = Setting(Runner(arguments.threads, work / "cache"), work, arguments.data, arguments.scale)
    about = {**machine(arguments.threads), "scale": arguments.scale}
    print(json.dumps(about))
    rows: list[Row] = []
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found = ROWS[name](setting)
        rows += found
        print("\n".join(_line(row) for row in found), flush=True)
        _write(arguments.output, about, rows)  # After each row: a benchmark of an hour may be broken off.
    return 0


def _write(folder: Path, about: dict, rows: list[Row]) -> None:
    content = [{**asdict(row), "ratio": row.ratio, "memory_ratio": row.memory_ratio} for row in rows]
    (folder / "inference.json").write_text(json.dumps({"machine": about, "rows": content}, indent=1), encoding="utf-8")
    shown = ", ".join(f"{name} {value}" for name, value in about.items())
    head = "| work | peer | time | of the peer's | peak memory | of the peer's | must reach | measured besides |"
    table = [head, "|" + "---|" * 8, *(_line(row) for row in rows)]
    (folder / "inference.md").write_text("\n".join([*table, "", f"Machine: {shown}.", ""]), encoding="utf-8")


def _line(row: Row) -> str:
    details = "; ".join(f"{name}: {value}" for name, value in row.details.items() if not isinstance(value, dict))
    cells = (
        row.work,
        row.peer,
        _number(row.seconds, "{:.2f} s"),
        _number(row.ratio, "{:.2f}"),
        _number(row.megabytes, "{:.0f} MB"),
        _number(row.memory_ratio, "{:.2f}"),
        row.target,
        details,
    )
    return f"| {' | '.join(cells)} |"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


if __name__ == "__main__":
    sys.exit(main())
