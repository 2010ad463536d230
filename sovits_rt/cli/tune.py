"""`sovits-rt tune`: measure how this machine runs the models best, and keep the answer."""

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from autotune import knobs, store
from autotune.decision import Decision
from autotune.errors import AutotuneError, SearchError
from autotune.files import write_whole
from autotune.fingerprint import fingerprint
from autotune.folder import recorded
from autotune.machine import Machine
from autotune.page import write_report
from autotune.probe import probe
from autotune.profile import Profile
from autotune.report import Report, summary, terminal_picture
from sovits_rt import rules
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.checkpoints.shape import preview
from sovits_rt.cli.job import why_not_writable
from sovits_rt.cli.options import (
    JSON,
    bundled_option,
    chosen_models,
    memory_budget,
    memory_option,
    model_options,
    scenario_option,
)
from sovits_rt.scenarios import DEFAULT_SCENARIO
from sovits_rt.selection import profile_folder, resolve
from sovits_rt.settings import Settings
from sovits_rt.tuning import EFFORTS, PUBLISHED_SHAPE, effort_for, subject_name, tune

FIRST_RUN_SECONDS = EFFORTS["quick"].budget_seconds
FIRST_RUN_TRIALS = EFFORTS["quick"].trials
REPORT = "report.html"
_PATH = click.Path(path_type=Path)


@click.command("tune")
@bundled_option
@model_options
@click.option(
    "--effort",
    type=click.Choice(tuple(EFFORTS)),
    show_default="what fits --budget, else normal",
    help="quick: a small piece of work, no finals; full: more pairs and more finalists.",
)
@click.option(
    "--budget",
    type=click.FloatRange(20, 86400),
    show_default="90, 600 or 3600, by --effort",
    help="Seconds to spend in all.",
)
@click.option(
    "--trials", type=click.IntRange(1, 10000), show_default="6, 40 or 200, by --effort", help="Most settings to try."
)
@scenario_option
@memory_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the search.")
@click.option("--session", type=_PATH, help="Folder that keeps everything: study, trials, profile, report.")
@click.option("--resume", is_flag=True, help="Go on with the session in that folder; --budget is for the rest of it.")
@click.option("--report", type=_PATH, help="Write a report to this HTML file.")
@JSON
def tune_command(
    effort: str | None,
    budget: float | None,
    trials: int | None,
    seed: int,
    session: Path | None,
    resume: bool,
    report: Path | None,
    as_json: bool,
    scenario: str,
    memory: int | None,
    **models: Any,
) -> None:
    """Search the fastest settings for these models on this machine and store them as its profile.

    Each --scenario has a profile of its own; `synth --scenario` uses it.
    """
    memory_bytes = memory_budget(scenario, memory)
    if resume and session is None:
        raise click.UsageError("--resume goes on with a session; name its folder with --session")
    if report is not None:
        check_report(report)
    chosen = effort or ("normal" if budget is None else effort_for(budget))
    plan = EFFORTS[chosen]
    paths = chosen_models(models).paths
    shape = preview(paths.require("gpt", "to tune"), paths.require("sovits", "to tune")).shape
    profile, decision, path = tune_and_store(
        paths,
        shape,
        probe(),
        console=Console(stderr=True, highlight=False),
        budget_seconds=plan.budget_seconds if budget is None else budget,
        max_trials=plan.trials if trials is None else trials,
        effort=chosen,
        seed=seed,
        session=session,
        resume=resume,
        scenario=scenario,
        memory_bytes=memory_bytes,
    )
    if session is not None:
        store.save(profile, session)
        write_report(decision, profile, session / REPORT)
    if report is not None:
        write_report(decision, profile, report)
    if as_json:
        click.echo(json.dumps({"profile": str(path), **described(profile, decision)}))
    else:
        click.echo(f"{summary(decision)}\nStored as {path}")


def tune_and_store(
    paths: ModelPaths,
    shape: str,
    machine: Machine,
    *,
    console: Console,
    budget_seconds: float,
    max_trials: int,
    effort: str | None = None,
    seed: int = 0,
    session: Path | None = None,
    resume: bool = False,
    scenario: str = DEFAULT_SCENARIO,
    memory_bytes: int = 0,
) -> tuple[Profile, Decision, Path]:
    with Report(console) as report:
        profile, decision = tune(
            paths,
            shape,
            machine,
            budget_seconds=budget_seconds,
            max_trials=max_trials,
            first=nearest(machine, shape, scenario),
            effort=effort,
            session=session,
            resume=resume,
            listener=report,
            seed=seed,
            scenario=scenario,
            memory_bytes=memory_bytes,
        )
    path = store.save(profile, profile_folder())
    store.forget_skip(profile_folder(), profile.id)
    return profile, decision, path


@click.command("report")
@click.argument("session", type=_PATH)
@click.option("-o", "--output", type=_PATH, show_default=f"SESSION/{REPORT}", help="HTML file to write.")
@click.option("--terminal", type=_PATH, help="Also write what the terminal showed in the end, as an SVG picture.")
def report_command(session: Path, output: Path | None, terminal: Path | None) -> None:
    """Write the report of a tuning session again, also of one that was killed.

    SESSION is the folder given to `tune --session`.
    """
    decision = recorded(session)
    path = output or session / REPORT
    for given in (path, terminal):
        if given is not None:
            check_report(given)
    profiles = [store.load(each) for each in store.files(session)]
    write_report(decision, profiles[0] if profiles else None, path)
    if terminal is not None:
        write_picture(decision, terminal)
    click.echo(f"{summary(decision)}\nWritten to {path}")


def write_picture(decision: Decision, path: Path) -> None:
    try:
        write_whole(path, terminal_picture(decision, "sovits-rt tune"))
    except OSError as error:
        raise SearchError(f"The picture {path} can't be written ({error.strerror}); choose another place.") from error


def check_report(path: Path) -> None:
    """Raises UsageError if no file can be written there; before hours of measuring, not after."""
    if path.is_dir():
        raise click.UsageError(f"{path} is a folder; give a file name in it, such as {path / REPORT}")
    if (problem := why_not_writable(path)) is not None:
        raise click.UsageError(f"{path} can't be written: {problem}")


def nearest(machine: Machine, shape: str, scenario: str = DEFAULT_SCENARIO) -> list[Settings]:
    """To be tried first: the best profile's settings that are known so far, for these models or the published ones,
    else what the rules of thumb say."""
    for subject in (subject_name(shape), subject_name(PUBLISHED_SHAPE)):
        try:
            known = resolve(machine, subject, scenario).profile
            if known is not None:
                return [knobs.clamp(knobs.load(Settings, known.settings), machine)[0]]
        except AutotuneError:
            continue  # a damaged or foreign profile is only a hint here; `profile list` names it
    return [knobs.clamp(rules.guess(fingerprint(machine), shape).settings, machine)[0]]


def described(profile: Profile, decision: Decision) -> dict[str, Any]:
    return {
        "id": profile.id,
        "status": profile.status,
        "scenario": profile.scenario,
        "ratio": decision.ratio,
        "ci": [decision.ci_low, decision.ci_high],
        "pairs": decision.pairs,
        "resolution": decision.resolution,
        "trials": decision.trials,
        "seconds": round(decision.seconds, 1),
        "settings": dict(profile.settings),
    }
