"""From the start of a process to its first sound: seconds, and the most memory it ever held.

    python tools/seeded_checkpoints.py build --size full
    python -m benchmarks.first_sound build/full/t2s_v2.ckpt build/full/sovits_v2.pth --json first.json \
        --set acoustic.backend=channels_last --set acoustic.precision=bf16

Each run is a process of its own that loads the models, speaks one sentence of a fixed number of tokens with a made-up
voice (as one that was prepared before), and writes a WAV file. The settings take turns with the defaults.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

PHONES, PROMPT_PHONES, PROMPT_TOKENS = 50, 50, 100
DEFAULTS = "defaults"


def child(gpt: str, sovits: str, assignments: list[str], tokens: int, wav: str, started: float) -> dict[str, float]:
    """One run, in the process that is measured. started: the clock when it was asked for."""
    from autotune.probe import probe
    from sovits_rt import process
    from sovits_rt.selection import select

    machine = probe()
    settings = select(machine, "", "default", assignments).settings
    process.apply(settings.process, machine)
    import numpy as np

    from sovits_rt.audio.write import AudioWriter
    from sovits_rt.checkpoints.layout import ModelPaths
    from sovits_rt.engine import Engine
    from sovits_rt.types import Request, Segment, Sentence

    imported = time.time() - started
    engine = Engine.load(ModelPaths(gpt=Path(gpt), sovits=Path(sovits)), settings)
    process.set_threads(settings.process, machine)
    loaded = time.time() - started
    voice = engine.invented_voice(np.random.default_rng(0), PROMPT_PHONES, PROMPT_TOKENS)
    ids = tuple(range(1, PHONES + 1))
    sentence = Sentence("", (Segment("", "", "", ("",) * PHONES, ids, None),))
    request = Request("", "", voice, max_tokens=tokens, end_of_speech=False)
    first = 0.0
    with AudioWriter(wav, engine.sample_rate) as writer:
        for chunk in engine.stream([sentence], request):
            first = first or time.time() - started
            writer.write(chunk.samples)
    return {
        "imported": imported,
        "loaded": loaded,
        "first_sound": first,
        "file": time.time() - started,
        "processor": time.process_time(),
        "peak_mebibytes": peak_mebibytes(),
    }


def peak_mebibytes() -> float:
    """The most memory this process ever held; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


@click.command()
@click.argument("gpt", type=click.Path(exists=True))
@click.argument("sovits", type=click.Path(exists=True))
@click.option("--set", "assignments", multiple=True, metavar="KNOB=VALUE", help="Compared with the defaults.")
@click.option("--tokens", default=50, show_default=True, help="25 are a second.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--json", "output", type=click.Path(path_type=Path))
def main(gpt: str, sovits: str, assignments: tuple[str, ...], tokens: int, rounds: int, output: Path | None) -> None:
    variants: dict[str, list[str]] = {DEFAULTS: []}
    if assignments:
        variants[" ".join(assignments)] = list(assignments)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name, given in variants.items():
                asked = [gpt, sovits, given, tokens, str(Path(folder) / "out.wav"), time.time()]
                command = [sys.executable, "-m", "benchmarks.first_sound", "--child", json.dumps(asked)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                runs[name].append(json.loads(done.stdout))
    found: dict[str, Any] = {}
    for name, each in runs.items():
        found[name] = {key: statistics.median(run[key] for run in each) for key in each[0]}
        click.echo(f"{name}: " + ", ".join(f"{key} {value:.2f}" for key, value in found[name].items()))
    if output is not None:
        output.write_text(json.dumps({"tokens": tokens, "medians": found, "runs": runs}, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(*json.loads(sys.argv[2]))))
    else:
        main()
