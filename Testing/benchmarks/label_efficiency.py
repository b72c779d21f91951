"""How accuracy grows with the number of labelled cases: MIM-UNETR, the same from scratch, and MONAI's DynUNet.

    python Testing/benchmarks/label_efficiency.py DATA WORK [--minutes 2] [--report REPORT]

DATA is the folder of the Medical Segmentation Decathlon's Task04 with a `splits.json`: `pool`, `validation`, and
`few_shot` lists of each size and seed. WORK keeps everything: finished trainings are not repeated, stopped ones go on,
and several processes (one for each core, `taskset -c N`) share the work. At the end the report is written; with
`--report-only` it is written again from the results alone.

Equal minutes: before the first training, seconds of CPU time per step are measured for each network in turns, in one
process with one thread, and every arm gets the number of steps that the minutes allow (plan.json). Steps instead of a
clock make the results independent of whatever else the computer does. The minutes of pre-training, once for all
trainings of the arm, come on top and are printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from label_efficiency_runs import ARMS, MINUTES, SIZES, all_runs


def main() -> int:
    """Train what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument(
        "--minutes", type=float, help="CPU minutes of each training (default: 2; 3 from 10 cases on; 12 with all)"
    )
    parser.add_argument("--pretrain-minutes", type=float, default=45.0, help="likewise, once, for the arm mim")
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--report", type=Path, help="folder of the report (default: WORK/report)")
    parser.add_argument("--report-only", action="store_true")
    options = parser.parse_args()
    runs = all_runs(tuple(options.arms.split(",")), tuple(options.sizes.split(",")))
    if not options.report_only:
        import label_efficiency_training as training

        minutes = dict.fromkeys(SIZES, options.minutes) if options.minutes else MINUTES
        plan = training.make_plan(options.data, options.work, minutes, options.pretrain_minutes)
        if "mim" in options.arms.split(","):
            training.pretrain_once(options.data, options.work, plan)
        training.train_all(options.data, options.work, plan, runs)
    import label_efficiency_report as report

    plan = json.loads((options.work / "plan.json").read_text(encoding="utf-8"))
    print(report.write_report(options.work, options.report or options.work / "report", plan, all_runs()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
