"""`sovits-rt profile`: what is known of how to run, why it is used, whether it holds here, and sharing it."""

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from autotune import profile as profiles
from autotune import sharing, store
from autotune.errors import ProfileError
from autotune.probe import probe
from autotune.profile import Profile
from autotune.record import verified_again
from autotune.report import Report
from sovits_rt import bundled
from sovits_rt.checkpoints.shape import preview
from sovits_rt.cli import profile_views as views
from sovits_rt.cli.options import (
    JSON,
    MODEL_KEYS,
    bundled_option,
    checked_assignments,
    chosen_models,
    memory_budget,
    memory_option,
    model_options,
    scenario_option,
    together,
)
from sovits_rt.errors import SettingsError
from sovits_rt.scenarios import DEFAULT_SCENARIO, SCENARIOS
from sovits_rt.selection import (
    UNTUNED,
    explain,
    find_profile,
    known_profiles,
    load_settings,
    locate,
    profile_folder,
    resolve,
)
from sovits_rt.settings import Settings, untuned
from sovits_rt.tuning import PUBLISHED_SHAPE, subject_name, verify

STANDARD_OUTPUT = "-"
VERIFY_SECONDS = 90.0
FORCE = click.option("--force", is_flag=True, help="Replace what is there.")
models_of_subject = together(bundled_option, model_options)


@click.group("profile")
def profile_group() -> None:
    """Look at tuned profiles, verify them here, and share them."""


@profile_group.command("list")
@JSON
def list_command(as_json: bool) -> None:
    """List the profiles of this user and those that came with sovits-rt."""
    known = known_profiles()
    if as_json:
        rows = [{"origin": origin, "id": p.id, "status": p.status, "hw_class": p.match.hw_class} for origin, p in known]
        click.echo(json.dumps({"profiles": rows}))
    elif not known:
        click.echo("There are no profiles yet; `sovits-rt tune` makes one for this machine.")
    else:
        Console().print(views.listed(known))


@profile_group.command("show")
@click.argument("name", metavar="ID_OR_FILE")
@click.option("--yaml", "as_yaml", is_flag=True, help="Print the profile's file.")
@JSON
def show_command(name: str, as_yaml: bool, as_json: bool) -> None:
    """Show one profile: for whom it is, its settings, and how they are known to be good."""
    profile = find_profile(name)
    if as_json:
        click.echo(json.dumps(profiles.to_dict(profile)))
    elif as_yaml:
        click.echo(store.as_text(profile), nl=False)
    else:
        views.show(profile, Console())


@profile_group.command("explain")
@click.argument("name", metavar="[ID_OR_FILE]", required=False)
@models_of_subject
@scenario_option
@click.option(
    "--set", "assignments", metavar="KNOB=VALUE", multiple=True, callback=checked_assignments, help="As for synth."
)
@JSON
def explain_command(
    name: str | None, assignments: tuple[str, ...], scenario: str, as_json: bool, **models: Any
) -> None:
    """Say which settings a run gets on this machine and why: which profile, and where each knob's value comes from.

    ID_OR_FILE: as --profile of `synth`. Without models: those of the bundled voice, else the published v2 pair.
    """
    found = explain(probe(), subject_of(models), name, assignments, scenario)
    if as_json:
        click.echo(json.dumps(views.explained(found)))
    else:
        views.explain(found, Console())


@profile_group.command("diff")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@JSON
def diff_command(first: str, second: str, as_json: bool) -> None:
    """Compare two profiles (ids or files; 'default' for this machine's defaults): knobs, and what was measured."""
    a, b = known_settings(first), known_settings(second)
    if as_json:
        click.echo(json.dumps(views.differences(a, b)))
    else:
        views.diff(a, b, Console())


@profile_group.command("verify")
@click.argument("name", metavar="[ID_OR_FILE]", required=False)
@models_of_subject
@click.option(
    "--scenario",
    type=click.Choice(tuple(SCENARIOS)),
    show_default=f"the named profile's, else {DEFAULT_SCENARIO}",
    help="What for.",
)
@memory_option
@click.option(
    "--budget",
    type=click.FloatRange(20, 86400),
    default=VERIFY_SECONDS,
    show_default=True,
    help="Most seconds it may take; 300 or more also tries compiled code.",
)
@JSON
def verify_command(
    name: str | None, scenario: str | None, memory: int | None, budget: float, as_json: bool, **models: Any
) -> None:
    """Measure a profile here: the speech must stay the same, and 12 to 16 pairs with the defaults say if it is faster.

    Without ID_OR_FILE: the one that a run would use. What was found is stored as a profile of this machine.
    """
    paths = chosen_models(models).paths
    shape = preview(paths.require("gpt", "to verify"), paths.require("sovits", "to verify")).shape
    machine, subject = probe(), subject_name(shape)
    if name is not None:
        origin, old = locate(name)
    else:
        best = resolve(machine, subject, scenario or DEFAULT_SCENARIO)
        if best.profile is None:
            raise SettingsError(f"{best.notes[0].rstrip('.')}; name one to verify, or use `sovits-rt tune`.")
        origin, old = "yours" if best.how == "exact-local" else "shipped", best.profile
    aim = scenario or old.scenario
    limit = old.evidence.figures.get("memory_limit_bytes") if old.evidence is not None else None
    memory_bytes = memory_budget(aim, int(limit) if memory is None and limit and aim == old.scenario else memory)
    settings, changes = load_settings(old, machine, strict=False)
    console = Console(stderr=True, highlight=False)
    for line in changes:
        console.print(f"fitted to this machine: {line}", markup=False, soft_wrap=True)
    with Report(console) as report:
        measured, decision = verify(
            paths,
            shape,
            machine,
            settings,
            budget_seconds=budget,
            listener=report,
            scenario=aim,
            memory_bytes=memory_bytes,
        )
    new = verified_again(old, measured, local=origin == "yours")
    path = store.save(new, profile_folder())
    if as_json:
        outcome = {"id": new.id, "status": new.status, "reason": decision.reason, "ratio": decision.ratio}
        outcome |= {"ci": [decision.ci_low, decision.ci_high], "pairs": decision.pairs}
        click.echo(json.dumps({"profile": str(path), **outcome, "seconds": round(decision.seconds, 1)}))
    else:
        click.echo(f"{views.STATUSES[new.status]}: {decision.reason}.\nStored as {path}")


@profile_group.command("export")
@click.argument("name", metavar="ID_OR_FILE")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@FORCE
def export_command(name: str, target: Path, force: bool) -> None:
    """Write a profile for others to FILE (- for standard output), without what names this machine or its user."""
    clean, removed = sharing.shareable(find_profile(name), sharing.own_names())
    if str(target) == STANDARD_OUTPUT:
        click.echo(store.as_text(clean), nl=False)
        return
    refuse_existing(target, force)
    if not target.parent.is_dir():
        raise ProfileError(f"{target} can't be written: there is no folder {target.parent}; make it or choose another.")
    store.write(clean, target)
    left_out = f"; left out: {', '.join(removed)}" if removed else ""
    click.echo(f"Written to {target}{left_out}")


@profile_group.command("import")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@FORCE
def import_command(source: Path, force: bool) -> None:
    """Take in a profile from elsewhere, as a candidate: it is trusted when it was verified here."""
    profile = sharing.brought_in(store.load(source))
    load_settings(profile, probe(), strict=False)
    refuse_existing(profile_folder() / f"{profile.id}.yaml", force)
    path = store.save(profile, profile_folder())
    click.echo(f"Stored as {path}, a candidate; `sovits-rt profile verify {profile.id}` measures it here")


def refuse_existing(path: Path, force: bool) -> None:
    if path.is_file() and not force:
        raise ProfileError(f"{path} is there already; --force replaces it.")


def known_settings(name: str) -> tuple[str, Profile | None, Settings]:
    """A profile by id or file with its settings as written, or this machine's defaults."""
    if name == UNTUNED:
        return UNTUNED, None, untuned(probe())
    profile = find_profile(name)
    return profile.id, profile, views.settings_of(profile)


def subject_of(models: dict[str, Any]) -> str:
    """Of the models that were given, else of the bundled voice, else of the published v2 pair."""
    if models["voice"] is None and all(models[key] is None for key in MODEL_KEYS) and not bundled.voices():
        return subject_name(PUBLISHED_SHAPE)
    paths = chosen_models(models).paths
    return subject_name(preview(paths.require("gpt", "to explain"), paths.require("sovits", "to explain")).shape)
