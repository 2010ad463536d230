"""`sovits-rt tune`: measure how this machine runs the models best, and keep the answer."""

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from autotune import knobs, store
from autotune.decision import Decision
from autotune.errors import AutotuneError
from autotune.machine import Machine
from autotune.probe import probe
from autotune.profile import Profile
from autotune.report import Report, summary
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.checkpoints.shape import preview
from sovits_rt.cli.options import JSON, bundled_option, chosen_models, model_options
from sovits_rt.selection import profile_folder, resolve
from sovits_rt.settings import Settings
from sovits_rt.tuning import subject_name, tune

FIRST_RUN_SECONDS = 90.0
FIRST_RUN_TRIALS = 6


@click.command("tune")
@bundled_option
@model_options
@click.option(
    "--budget", type=click.FloatRange(20, 86400), default=600.0, show_default=True, help="Seconds to spend in all."
)
@click.option("--trials", type=click.IntRange(1, 10000), default=40, show_default=True, help="Most settings to try.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the search.")
@click.option("--study", type=click.Path(path_type=Path), help="SQLite file that keeps the search between runs.")
@JSON
def tune_command(budget: float, trials: int, seed: int, study: Path | None, as_json: bool, **models: Any) -> None:
    """Search the fastest settings for these models on this machine and store them as its profile."""
    paths = chosen_models(models).paths
    shape = preview(paths.require("gpt", "to tune"), paths.require("sovits", "to tune")).shape
    profile, decision, path = tune_and_store(
        paths,
        shape,
        probe(),
        console=Console(stderr=True, highlight=False),
        budget_seconds=budget,
        max_trials=trials,
        seed=seed,
        storage=study,
    )
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
    seed: int = 0,
    storage: Path | None = None,
) -> tuple[Profile, Decision, Path]:
    with Report(console) as report:
        profile, decision = tune(
            paths,
            shape,
            machine,
            budget_seconds=budget_seconds,
            max_trials=max_trials,
            first=nearest(machine, shape),
            storage=storage,
            listener=report,
            seed=seed,
        )
    path = store.save(profile, profile_folder())
    store.forget_skip(profile_folder(), profile.id)
    return profile, decision, path


def nearest(machine: Machine, shape: str) -> list[Settings]:
    """The settings of the best profile that is known so far, for these models or for the published ones."""
    for subject in (subject_name(shape), subject_name("24x512-512")):
        try:
            known = resolve(machine, subject).profile
            if known is not None:
                return [knobs.clamp(knobs.load(Settings, known.settings), machine)[0]]
        except AutotuneError:
            continue  # a damaged or foreign profile is only a hint here; `profile list` names it
    return []


def described(profile: Profile, decision: Decision) -> dict[str, Any]:
    return {
        "id": profile.id,
        "status": profile.status,
        "ratio": decision.ratio,
        "ci": [decision.ci_low, decision.ci_high],
        "pairs": decision.pairs,
        "resolution": decision.resolution,
        "trials": decision.trials,
        "seconds": round(decision.seconds, 1),
        "settings": dict(profile.settings),
    }
