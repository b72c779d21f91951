"""How accuracy grows with the number of labelled cases: MIM-UNETR, the same from scratch, and MONAI's DynUNet.

    python Testing/benchmarks/label_efficiency.py DATA WORK [--task spine] [--minutes 2] [--report REPORT]

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

from label_efficiency_runs import TASKS, all_runs


def main() -> int:
    """Train what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--task", choices=sorted(TASKS), default="hippocampus", help="what DATA is, and how it is read")
    parser.add_argument("--minutes", type=float, help="CPU minutes of each training (default: those of the task)")
    parser.add_argument("--pretrain-minutes", type=float, help="likewise, once, for each pre-trained network")
    parser.add_argument("--sizes", default="", help="only these numbers of labelled cases")
    parser.add_argument("--arms", default="", help="only these networks and starts")
    parser.add_argument("--report", type=Path, help="folder of the report (default: WORK/report)")
    parser.add_argument("--report-only", action="store_true")
    options = parser.parse_args()
    task = TASKS[options.task]
    arms, sizes = (tuple(filter(None, text.split(","))) for text in (options.arms, options.sizes))
    if not options.report_only:
        import label_efficiency_training as training

        plan = training.make_plan(task, options.data, options.work, vars(options))
        training.train_all(task, options.data, options.work, plan, all_runs(task, arms, sizes))
    import label_efficiency_report as report

    plan = json.loads((options.work / "plan.json").read_text(encoding="utf-8"))
    validation = json.loads((options.data / "splits.json").read_text(encoding="utf-8"))["validation"]
    people = report.people_of(task, validation)
    print(report.write_report(options.work, options.report or options.work / "report", plan, task, people))
    return 0


if __name__ == "__main__":
    sys.exit(main())
