"""What a GPU does: is every fast way exact, and how fast is it.

    python -m benchmarks.gpu --checkpoints build/checkpoints --json gpu.json --table gpu.md

First each way of running the networks is compared with plain fp32 on the same GPU: tokens, logits, waves. Then the rows
are measured: all ways take turns, round by round, and every speed is printed beside its comparison. Checkpoints have
the published sizes and seeded random weights, on whose values speed does not depend; token counts are fixed. They are
written into the folder if they are not there. Without a GPU that torch can use it says so and ends with 1.
"""

import importlib.util
import json
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from autotune.machine import Machine
from autotune.probe import probe
from benchmarks.gpu_work import FULL, ROWS, Row, Ways, Work
from sovits_rt.checkpoints.layout import ModelPaths

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("v2", "v2ProPlus")


@dataclass(frozen=True, slots=True)
class Figure:
    """Of one row, one version and one way of running. samples: of measured rounds, warm-ups left out; what they count
    is the row's unit. memory_bytes: the most that torch held meanwhile, 0 where that is not known."""

    row: str
    version: str
    way: str
    unit: str
    samples: tuple[float, ...]
    warm_ups: tuple[float, ...]
    memory_bytes: int
    check: str
    goals: str

    @property
    def sentence(self) -> str:
        middle = statistics.median(self.samples)
        spread = f"{min(self.samples):.4g} to {max(self.samples):.4g}, n={len(self.samples)}"
        return f"{self.row}, {self.version}, {self.way}: {middle:.4g} {self.unit} ({spread}); {self.check}"


@dataclass(frozen=True, slots=True)
class Results:
    machine: Mapping[str, Any]
    checks: Mapping[str, Mapping[str, Mapping[str, Any]]]
    figures: Sequence[Figure] = field(default_factory=tuple)

    def table(self) -> str:
        lines = [", ".join(f"{name} {value}" for name, value in self.machine.items()), ""]
        lines += ["| what | model | way | median | range | n | memory, MiB | goals | the same speech? |"]
        lines += ["|---" * 9 + "|"]
        for each in self.figures:
            middle, low, high = statistics.median(each.samples), min(each.samples), max(each.samples)
            lines.append(
                f"| {each.row} | {each.version} | {each.way} | {middle:.4g} {each.unit} | {low:.4g} to {high:.4g} "
                f"| {len(each.samples)} | {each.memory_bytes >> 20} | {each.goals} | {each.check} |"
            )
        return "\n".join(lines) + "\n"


def gpu_of(machine: Machine) -> str | None:
    """ "cuda" or "rocm", or None."""
    return next((kind for kind in ("cuda", "rocm") if machine.has(kind)), None)


def facts(machine: Machine, kind: str) -> dict[str, Any]:
    import torch

    device = machine.devices_of(kind)[0]
    return {
        "device": device.name,
        "arch": device.arch,
        "memory_bytes": device.memory_bytes,
        "driver": device.facts.get("driver", ""),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cpu": machine.cpu.model,
        "cores": machine.usable_cores,
    }


def checkpoints(folder: Path, version: str, size: str) -> ModelPaths:
    """Writes those that are not there."""
    seeded = _tool("seeded_checkpoints")
    table, stored = seeded.load_table(), seeded.load_stored()

    def made(name: str, wanted: str) -> Path:
        entry = table.find(name, wanted)
        path: Path = folder / entry.path
        if not path.exists():
            seeded.write_checkpoint(entry, folder, seed=table.seed, stored=stored, check=False)
        return path

    return ModelPaths(gpt=made("t2s_v2", size), sovits=made(f"sovits_{version}", size))


def compared(work: Work, ways: Ways) -> dict[str, dict[str, Any]]:
    """Every way against the first one, by name."""
    reference = work.outputs(ways.engine(ways.names[0]))
    return {name: work.comparison(reference, work.outputs(ways.engine(name))) for name in ways.names}


def measured(
    work: Work, ways: Ways, rows: Sequence[Row], checks: Mapping[str, Mapping[str, Any]], rounds: int, warm_ups: int
) -> list[Figure]:
    """All ways take turns within a round."""
    figures = []
    for row in rows:
        samples: dict[str, list[float]] = {name: [] for name in ways.names}
        memory = dict.fromkeys(samples, 0)
        for _ in range(warm_ups + rounds):
            for name, taken in samples.items():
                value, held = work.measure(row, ways.engine(name, slots=row.slots(work.sizes)))
                taken.append(value)
                memory[name] = max(memory[name], held)
        figures += [
            Figure(
                row=row.name,
                version=ways.version,
                way=name,
                unit=row.unit,
                samples=tuple(taken[warm_ups:]),
                warm_ups=tuple(taken[:warm_ups]),
                memory_bytes=memory[name],
                check=str(checks[name]["sentence"]),
                goals=row.goals(ways.version),
            )
            for name, taken in samples.items()
        ]
        ways.forget()
    return figures


def run(machine: Mapping[str, Any], every: Sequence[Ways], work: Work, rounds: int, warm_ups: int) -> Results:
    """every: the ways of running each version."""
    checks: dict[str, Mapping[str, Mapping[str, Any]]] = {}
    figures: list[Figure] = []
    for ways in every:
        checks[ways.version] = compared(work, ways)
        ways.forget()
        figures += measured(work, ways, ROWS, checks[ways.version], rounds, warm_ups)
    return Results(machine, checks, figures)


def _tool(name: str) -> ModuleType:
    """A script of tools/ as a module."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@click.command(help=__doc__)
@click.option("--checkpoints", "folder", type=click.Path(path_type=Path), default=Path("build/checkpoints"))
@click.option("--version", "versions", multiple=True, default=VERSIONS, type=click.Choice(VERSIONS))
@click.option("--rounds", default=7, show_default=True)
@click.option("--warm-ups", default=2, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
@click.option("--table", "table_path", type=click.Path(path_type=Path))
def main(
    folder: Path, versions: tuple[str, ...], rounds: int, warm_ups: int, json_path: Path | None, table_path: Path | None
) -> None:
    machine = probe()
    kind = gpu_of(machine)
    if kind is None:
        why = machine.absent.get("cuda", "the machine has none")
        raise click.ClickException(f"This measures a GPU of NVIDIA or AMD, and torch can use none here: {why}")
    every = [Ways(version, checkpoints(folder, version, "full"), kind) for version in versions]
    found = run(facts(machine, kind), every, Work(FULL), rounds, warm_ups)
    for version, ways in found.checks.items():
        for name, check in ways.items():
            click.echo(f"{version}, {name}: {check['sentence']}")
    for figure in found.figures:
        click.echo(figure.sentence)
    if json_path is not None:
        json_path.write_text(json.dumps(asdict(found), indent=1))
    if table_path is not None:
        table_path.write_text(found.table())


if __name__ == "__main__":
    main()
