"""What the tuner promises, measured: each line with its bar and the number of samples behind it.

    python -m benchmarks.tuner_trust --kills 100                  everything, a quarter of an hour
    python -m benchmarks.tuner_trust --only replays               regret, re-tunes, false promotions
    python -m benchmarks.tuner_trust --only kills --kills 100     lost trials, orphans, resume
    python -m benchmarks.tuner_trust --only faults                injected failures, and alarms that were false
    python -m benchmarks.tuner_trust --only speech                planted quality faults, and alarms that were false
    python -m benchmarks.tuner_trust --only start-up              probe, profile
    python -m benchmarks.tuner_trust --table my.jsonl --json trust.json

Replays are of tables that were recorded on real machines (`benchmarks.record_grid`); a table says on which, and when.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table as Printed

from autotune import store, table, trust
from autotune.fingerprint import fingerprint, software_stamp
from autotune.plain import to_plain
from autotune.probe import probe
from autotune.subject import SubjectName
from autotune.table import Table
from benchmarks import faults, kills
from sovits_rt.bundled import default as default_voice

TABLES = Path(__file__).resolve().parent.parent / "tests" / "autotune" / "tables"
SHIPPED = TABLES.parents[2] / "profiles"
TIMED = 20
PARTS = ("replays", "kills", "faults", "speech", "start-up")


@dataclass(frozen=True, slots=True)
class Line:
    """value, bar: as text. passed: None if nothing was measured. samples: in words. note: what to know beside it."""

    what: str
    value: str
    bar: str
    passed: bool | None
    samples: str
    note: str = ""


def replays(recorded: Table, label: str, sessions: int, promotions: int, trials: int) -> Iterator[Line]:
    """Regret over independent searches; a re-tuning with the same search, as a user's is; the default made best."""
    varied = [trust.session(recorded, seed, sampler_seed=seed, max_trials=trials) for seed in range(sessions)]
    regret = trust.regret_of(recorded, varied)
    tried = f"{regret.count} sessions"
    of = f"{label}: at most {regret.tried} trials of {regret.settings} settings"
    yield Line("regret, mean", f"{regret.mean:.1%}", "<= 3 %", regret.mean <= 0.03, tried, of)
    yield Line("regret, p90", f"{regret.p90:.1%}", "<= 5 %", regret.p90 <= 0.05, tried, f"worst {regret.worst:.1%}")
    again = [trust.session(recorded, 1000 + seed, max_trials=trials) for seed in range(10)]
    for name, runs in (("the same search", again), ("another search each", varied[:10])):
        found = trust.agreement_of(recorded, runs)
        count, note = f"{found.count} tunings", f"{label}: {name}; widest {found.widest:.1%}"
        yield Line(
            "re-tunes within 2 %", f"{found.close}", ">= 9 of 10", 10 * found.close >= 9 * found.count, count, note
        )
        same = 10 * found.identical >= 7 * found.count
        yield Line("re-tunes identical", f"{found.identical}", ">= 7 of 10", same, count, f"{label}: {name}")
    false = trust.false_promotions(recorded, range(promotions), max_trials=trials)
    share, note = len(false) / promotions, f"{label}: default made best"
    yield Line("false promotions", f"{len(false)}", "<= 1 in 100", share <= 0.01, f"{promotions} sessions", note)


def deaths(count: int, seed: int) -> Iterator[Line]:
    """Of a tuning of docs/tune_anything.py."""
    found = kills.killed(SubjectName("docs.tune_anything:NearestCentre"), count, seed)
    killed = f"{found.parents} sessions, {found.workers} workers"
    note = f"of {found.acknowledged}"
    yield Line("acknowledged trials lost", f"{found.lost}", "0", found.lost == 0, killed, note)
    yield Line("orphan processes", f"{found.orphans}", "0", found.orphans == 0, killed)
    waited, computed = found.resume_seconds, found.resume_cpu_seconds
    if waited:
        worst, note = (
            max(waited),
            f"median {statistics.median(waited):.2f} s, {max(computed):.2f} s of processor at most",
        )
        yield Line("resume, worst", f"{worst:.2f} s", "< 2 s", worst < 2, f"{len(waited)} resumes", note)


def planted(runs: int) -> Iterator[Line]:
    called = list(faults.injected())
    wrong = [f"{each.fault}: {each.found.value}" for each in called if not each.right]
    right = f"{len(called) - len(wrong)} of {len(called)}"
    yield Line("injected faults classified", right, "all", not wrong, f"{len(called)} faults", "; ".join(wrong))
    alarms = faults.false_alarms(runs)
    yield Line("false alarms", f"{alarms}", "0", alarms == 0, f"{runs} equivalent runs", "of the toy subject")


def spoken() -> Iterator[Line]:
    """In the speech of the bundled voice's models."""
    from benchmarks import speech_faults  # not above: torch

    paths = default_voice().paths
    found = list(speech_faults.planted(paths))
    missed = [f"{each.fault} ({'exact' if each.exact else 'inexact'})" for each in found if not each.failed]
    right = f"{len(found) - len(missed)} of {len(found)}"
    yield Line("planted quality faults caught", right, "all", not missed, f"{len(found)} faults", "; ".join(missed))
    alarms = list(speech_faults.false_alarms(paths))
    wrong = [each.fault for each in alarms if each.failed]
    note = "; ".join(wrong) or "of the bundled voice's models"
    yield Line("false alarms", f"{len(wrong)}", "0", not wrong, f"{len(alarms)} equivalent runs", note)


def start_up() -> Iterator[Line]:
    machine = probe()

    def resolve() -> None:
        with tempfile.TemporaryDirectory() as folder:
            store.resolve(machine, subject="none", scenario="none", user_dir=Path(folder), shipped_dirs=(SHIPPED,))

    for what, bar, work in (("probe", 2.0, probe), ("find the profile", 0.05, resolve)):
        seconds = timed(work)
        middle, worst = statistics.median(seconds), max(seconds)
        note = f"worst {worst * 1000:.0f} ms"
        yield Line(what, f"{middle * 1000:.0f} ms", f"<= {bar * 1000:.0f} ms", middle <= bar, f"{TIMED} runs", note)


def timed(work: Callable[[], object]) -> list[float]:
    seconds = []
    for _ in range(TIMED):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return seconds


def shown(lines: Sequence[Line]) -> Printed:
    printed = Printed("what", "value", "bar", "", "samples", "note")
    for line in lines:
        verdict = {None: "not run", True: "ok", False: "MISSED"}[line.passed]
        printed.add_row(line.what, line.value, line.bar, verdict, line.samples, line.note)
    return printed


@click.command()
@click.option("--table", "paths", multiple=True, type=click.Path(path_type=Path), help="Default: those of the tests.")
@click.option("--sessions", default=20, show_default=True, help="Replayed for the regret.")
@click.option("--promotions", default=100, show_default=True, help="Replayed with the default made best.")
@click.option("--trials", default=40, show_default=True, help="At most, of each session.")
@click.option("--kills", "killed", default=0, show_default=True, help="Sessions and workers killed; 0: not run.")
@click.option("--equivalent", default=20, show_default=True, help="Runs of right settings; 0: no faults either.")
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="Which part; repeat for more. Default: all.")
@click.option("--seed", default=0, show_default=True, help="Of the kills.")
@click.option("--json", "written", type=click.Path(path_type=Path), help="Write the lines to this file.")
def main(
    paths: tuple[Path, ...],
    sessions: int,
    promotions: int,
    trials: int,
    killed: int,
    equivalent: int,
    only: tuple[str, ...],
    seed: int,
    written: Path | None,
) -> None:
    lines: list[Line] = []
    sources: dict[str, dict[str, str]] = {}
    wanted = set(only or PARTS)
    for path in (paths or sorted(TABLES.glob("*.jsonl*"))) if "replays" in wanted else ():
        recorded = table.read(path)
        label = path.name.split(".")[0]
        chip = recorded.machine.cpu
        sources[label] = {
            "subject": recorded.header.subject,
            "machine": f"{chip.vendor} {chip.model}, {chip.usable_cores} usable cores",
            "date": recorded.header.date,
            "conditions": recorded.header.conditions,
            "duels": str(len(recorded.rows)),
        }
        lines.extend(replays(recorded, label, sessions, promotions, trials))
    if "kills" in wanted:
        lines.extend(deaths(killed, seed) if killed else [Line("kills", "-", "", None, "0")])
    if "faults" in wanted:
        lines.extend(planted(equivalent) if equivalent else [Line("injected faults", "-", "", None, "0")])
    if "speech" in wanted:
        lines.extend(spoken())
    if "start-up" in wanted:
        lines.extend(start_up())
    console = Console()
    for label, facts in sources.items():
        console.print(f"{label}: " + ", ".join(f"{name} {value}" for name, value in facts.items() if value))
    console.print(shown(lines))
    if written is not None:
        machine = probe()
        document = {
            "machine": to_plain(fingerprint(machine)),
            "software": software_stamp(machine),
            "tables": sources,
            "lines": [asdict(each) for each in lines],
        }
        written.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
