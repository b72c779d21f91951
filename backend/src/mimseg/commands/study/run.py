"""Answer a claim of the paper on the user's own data: plan, train, report."""

from __future__ import annotations

from pathlib import Path

from mimseg.bundle.checked_folder import refuse_inside_model
from mimseg.commands.study.settings import StudySettings
from mimseg.errors import Stopped, UserError
from mimseg.events import Reporter
from mimseg.studies.claims import load_claim
from mimseg.studies.plan import Plan, read_plan, write_plan
from mimseg.studies.report import check_folder, write_report
from mimseg.studies.results import read_results
from mimseg.studies.statistics import TOO_FEW, fewest_subjects


def study(settings: StudySettings, reporter: Reporter) -> Path:
    """Carry out a study, or go on with it, and write its report.

    Returns:
        `report.html` in the report folder; `results.csv`, `results.json` and `figures/` lie beside it.

    Raises:
        UserError: The data, the design, or an earlier study in the folder do not fit.
        Stopped: The user stopped; the same command goes on. Finished runs are reported first.
    """
    refuse_inside_model(settings.report)
    check_folder(settings.report)
    reporter.start("study", claim=settings.design.claim, seeds=list(settings.design.seeds))
    try:
        plan = _read_plan(settings) if settings.report_only else _carry_out(settings, reporter)
    except Stopped as stop:
        # A training alone would go on with --resume, which a study has not.
        raise Stopped(stop.message, "Give the same command again; the study goes on.", stop.code) from stop
    results = read_results(plan, settings.runs_path)
    report, verdict = write_report(settings.report, results)
    for run, reason in results.missing:
        reporter.warning("run-missing", f"{run.kind} of {run.variant}, seed {run.seed}: {reason}.")
    reporter.result(report=str(report), verdict=verdict, runs=len(results.finished), missing=len(results.missing))
    return report


def _carry_out(settings: StudySettings, reporter: Reporter) -> Plan:
    from mimseg.commands.study.runner import Runner

    plan = _plan(settings, reporter)
    runner = Runner(plan, settings.plan_path, settings.runs_path, settings, reporter)
    try:
        runner.carry_out()
    finally:
        # Also after a stop: what is finished so far can be read.
        write_report(settings.report, read_results(plan, settings.runs_path))
    return plan


def _plan(settings: StudySettings, reporter: Reporter) -> Plan:
    """The plan that is there, or a new one; of several processes one makes it and the others wait."""
    from mimseg.commands.locks import claim_patiently
    from mimseg.commands.study.given import read_given
    from mimseg.commands.study.plan import check_asked, plan_study
    from mimseg.commands.study.probe import find_steps

    settings, initial = read_given(settings) if settings.initial else (settings, None)
    with claim_patiently(settings.report / "plan.lock"):
        if settings.plan_path.is_file():
            plan = read_plan(settings.plan_path)
            check_asked(plan, settings)
            _warn_of_few(plan, reporter)
        else:
            plan = plan_study(settings, reporter, initial)
            _warn_of_few(plan, reporter)
            plan = find_steps(plan, settings, reporter)
            write_plan(settings.plan_path, plan)
    return plan


def _warn_of_few(plan: Plan, reporter: Reporter) -> None:
    """Say before hours of training where they cannot show anything, however large a difference is."""
    comparisons = len(load_claim(plan.design.claim).comparisons_of(plan))
    fewest, subjects = fewest_subjects(comparisons), len(set(plan.subjects))
    if subjects < fewest:
        reporter.warning(
            "too-few-cases",
            f"{subjects} subjects validate: a difference {TOO_FEW}, however large it is. {comparisons} "
            f"comparison{' needs' if comparisons == 1 else 's need'} at least {fewest}: choose them with --validation.",
        )


def _read_plan(settings: StudySettings) -> Plan:
    plan = read_plan(settings.plan_path)
    if plan.design.claim != settings.design.claim:
        raise UserError(
            f"The study in {settings.report} is about {plan.design.claim}, not {settings.design.claim}.",
            "Name the folder of the right study, or the right claim.",
            code="settings-differ",
        )
    return plan
