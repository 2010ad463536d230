"""Live: is a tuning of this machine repeatable, and is it the same while another process keeps one core busy?

    python -m benchmarks.retunes build/retunes --gpt voice.ckpt --sovits voice.pth --budget 600 --runs 10

Tunes from scratch again and again, quiet and busy in turn, so that what the machine does over hours falls on both. Then
each decision is measured against the most frequent quiet one, in interleaved pairs of live processes: numbers of
different tunings can't be compared with each other. Everything is kept in the folder; started again, it goes on where
it was ended. The summary is FOLDER/retunes.json.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from autotune import knobs
from autotune.arena import Arena
from autotune.decision import Decision
from autotune.duel import Effort, Rules
from autotune.errors import AutotuneError
from autotune.files import write_whole
from autotune.fingerprint import fingerprint, software_stamp
from autotune.machine import Machine
from autotune.measure import Budget
from autotune.plain import to_plain
from autotune.probe import probe
from sovits_rt.bundled import default as default_voice
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.checkpoints.shape import preview
from sovits_rt.scenarios import SCENARIOS
from sovits_rt.settings import Settings, untuned
from sovits_rt.tuning import SpeechSubject, subject_for, tune

QUIET, BUSY = "quiet", "busy"
SAME = 0.02
COMPARED = Effort(pairs=24, drop=False, settle=0.0)
BUSY_LOOP = "import os\nwhile os.getppid() == {parent}: sum(range(10000))"


class Against(SpeechSubject):
    """Speech whose defaults are other settings: those that a tuning chose."""

    def __init__(self, settings: Mapping[str, Any], **arguments: Any) -> None:
        super().__init__(**arguments)
        object.__setattr__(self, "_chosen", knobs.load(Settings, settings))

    def default(self, machine: Machine) -> Settings:
        chosen: Settings = object.__getattribute__(self, "_chosen")
        return chosen


@contextlib.contextmanager
def one_core_busy() -> Iterator[None]:
    """Another process computes as long as this lasts; it ends by itself if this one is killed."""
    code = BUSY_LOOP.format(parent=os.getpid())
    with subprocess.Popen([sys.executable, "-c", code]) as other:
        try:
            yield
        finally:
            other.kill()


def tuned(place: Path, paths: ModelPaths, condition: str, seed: int, **options: Any) -> dict[str, Any]:
    """One decision from scratch, or the one that is in the file already."""
    if place.exists():
        found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        return found
    shape = preview(paths.require("gpt", "to tune"), paths.require("sovits", "to tune")).shape
    with one_core_busy() if condition == BUSY else contextlib.nullcontext():
        _, decision = tune(paths, shape, probe(), seed=seed, **options)
    row = described(decision, condition)
    write_whole(place, json.dumps(row, indent=1))
    return row


def described(decision: Decision, condition: str) -> dict[str, Any]:
    notes = [each.note for record in decision.history for each in record.control_samples]
    return {
        "condition": condition,
        "status": decision.status,
        "reason": decision.reason,
        "settings": knobs.dump(decision.settings),
        "ratio": [decision.ratio, decision.ci_low, decision.ci_high],
        "pairs": decision.pairs,
        "resolution": decision.resolution,
        "trials": decision.trials,
        "seconds": round(decision.seconds, 1),
        "disturbed": [sum(map(bool, notes)), len(notes)],
    }


def compared(
    place: Path, paths: ModelPaths, scenario: str, reference: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """`settings` against `reference` in pairs, or what is in the file already. ratio below 1: settings are faster."""
    if place.exists():
        found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        return found
    shape = preview(paths.require("gpt", "to tune"), paths.require("sovits", "to tune")).shape
    plain = subject_for(paths, shape, brief=False, scenario=scenario)
    name = type(plain)("benchmarks.retunes:Against", {**plain.arguments, "settings": dict(reference)})
    machine = probe()
    with Arena(name, name.create(), machine, Rules(), seed=0) as arena:
        budget = Budget.of(float("inf"))
        arena.start(budget)
        duel = arena.duel(knobs.load(Settings, settings, machine), COMPARED, budget, lambda _: None)
    if duel.estimate is None:
        row = {"outcome": duel.candidate.outcome.value, "reason": duel.candidate.reason, "ratio": None}
    else:
        each = duel.estimate
        row = {"outcome": "ok", "ratio": [each.ratio, each.ratio_low, each.ratio_high], "pairs": each.count}
    write_whole(place, json.dumps(row, indent=1))
    return row


def summary(rows: Sequence[Mapping[str, Any]], ratios: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """By condition: how many chose the most frequent quiet settings, and how many are within 2 % of them."""
    found: dict[str, Any] = {}
    most = most_frequent(rows)
    for condition in (QUIET, BUSY):
        keys = [knobs.convert.digest(row["settings"]) for row in rows if row["condition"] == condition]
        known = [ratios[key]["ratio"] for key in keys]
        found[condition] = {
            "tunings": len(keys),
            "identical": sum(key == most for key in keys),
            "within 2 %": sum(each is not None and abs(each[0] - 1) <= SAME for each in known),
            "not surely different by 2 %": sum(
                each is not None and each[1] <= 1 + SAME and each[2] >= 1 - SAME for each in known
            ),
        }
    return found


def most_frequent(rows: Sequence[Mapping[str, Any]]) -> str:
    keys = Counter(knobs.convert.digest(row["settings"]) for row in rows if row["condition"] == QUIET)
    return keys.most_common(1)[0][0]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--gpt", type=click.Path(path_type=Path), help="Default: the bundled voice's.")
@click.option("--sovits", type=click.Path(path_type=Path), help="Default: the bundled voice's.")
@click.option("--runs", default=10, show_default=True, help="Tunings of each condition.")
@click.option("--budget", default=600.0, show_default=True, help="Seconds of each tuning.")
@click.option("--trials", default=40, show_default=True, help="At most, of each tuning.")
@click.option("--scenario", type=click.Choice(tuple(SCENARIOS)), default="throughput", show_default=True)
def main(
    folder: Path, gpt: Path | None, sovits: Path | None, runs: int, budget: float, trials: int, scenario: str
) -> None:
    paths = default_voice().paths if gpt is None or sovits is None else ModelPaths(gpt=gpt, sovits=sovits)
    folder.mkdir(parents=True, exist_ok=True)
    options = {"budget_seconds": budget, "max_trials": trials, "scenario": scenario}
    rows = []
    try:
        for run in range(runs):
            for condition in (QUIET, BUSY):
                rows.append(tuned(folder / f"{condition}-{run}.json", paths, condition, run, **options))
                click.echo(f"{condition} {run}: {rows[-1]['status']}, {rows[-1]['ratio'][0]:.3f}")
        most = most_frequent(rows)
        chosen = {knobs.convert.digest(row["settings"]): row["settings"] for row in rows}
        ratios: dict[str, dict[str, Any]] = {most: {"outcome": "ok", "ratio": [1.0, 1.0, 1.0], "pairs": 0}}
        for key, settings in chosen.items():
            if key != most:
                ratios[key] = compared(folder / f"{most}-{key}.json", paths, scenario, chosen[most], settings)
    except AutotuneError as error:
        raise click.ClickException(str(error)) from error
    machine = probe()
    defaults = knobs.convert.digest(knobs.dump(untuned(machine)))
    found = summary(rows, ratios)
    document = {
        "machine": to_plain(fingerprint(machine)),
        "software": software_stamp(machine),
        "options": options,
        "reference": chosen[most],
        "reference is the default": most == defaults,
        "summary": found,
        "compared": ratios,
        "tunings": rows,
    }
    write_whole(folder / "retunes.json", json.dumps(document, indent=1))
    click.echo(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
