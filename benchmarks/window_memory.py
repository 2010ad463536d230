"""Memory that rendering takes, by window: the exact windows against the whole utterance.

    python tools/seeded_checkpoints.py build --size full
    python -m benchmarks.window_memory build/full/t2s_v2.ckpt build/full/sovits_v2.pth --seconds 20 --json memory.json

Each window is measured in a process of its own: the most that it held while rendering, less what it held before. The
samples are compared with those of the whole.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.first_sound import PHONES, PROMPT_PHONES, PROMPT_TOKENS, peak_mebibytes
from sovits_rt.settings import WHOLE_SENTENCE_FRAMES

TOKENS_PER_SECOND = 25


def child(gpt: str, sovits: str, assignments: list[str], tokens: int, wave_file: str) -> dict[str, float]:
    """One run, in the process that is measured."""
    from autotune.probe import probe
    from sovits_rt import process
    from sovits_rt.selection import select

    machine = probe()
    settings = select(machine, "", "default", assignments).settings
    process.apply(settings.process, machine)
    from sovits_rt.checkpoints.layout import ModelPaths
    from sovits_rt.engine import Engine, sentence_noises
    from sovits_rt.types import Request, Segment, Sentence

    engine = Engine.load(ModelPaths(gpt=Path(gpt), sovits=Path(sovits)), settings)
    random = np.random.default_rng(0)
    voice = engine.invented_voice(random, PROMPT_PHONES, PROMPT_TOKENS)
    ids = tuple(range(1, PHONES + 1))
    sentence = Sentence("", (Segment("", "", "", ("",) * PHONES, ids, None),))
    request, spoken = Request("", "", voice), random.integers(0, 1024, tokens)
    noise = sentence_noises([sentence], 0)[0]
    engine.render(sentence, spoken[:10], noise, request)  # what the first call alone takes is none of the window's
    before = forget_peak()
    start = time.perf_counter()
    chunk = engine.render(sentence, spoken, noise, request)
    seconds = time.perf_counter() - start
    np.save(wave_file, chunk.wave)
    return {"mebibytes": peak_mebibytes() - before, "before": before, "seconds": seconds}


def forget_peak() -> float:
    """Mebibytes held now, from which on the peak counts."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_mebibytes()


@click.command()
@click.argument("gpt", type=click.Path(exists=True))
@click.argument("sovits", type=click.Path(exists=True))
@click.option("--seconds", default=20.0, show_default=True, help="Of audio.")
@click.option("--window", "windows", multiple=True, type=int, default=(50, 100, 200, 400), help="Frames of 20 ms.")
@click.option("--set", "assignments", multiple=True, metavar="KNOB=VALUE", help="For all runs.")
@click.option("--json", "output", type=click.Path(path_type=Path))
def main(
    gpt: str, sovits: str, seconds: float, windows: tuple[int, ...], assignments: tuple[str, ...], output: Path | None
) -> None:
    found: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for window in (WHOLE_SENTENCE_FRAMES, *windows):
            wave_file = str(Path(folder) / f"{window}.npy")
            given = [*assignments, f"acoustic.window={window}"]
            asked = [gpt, sovits, given, round(seconds * TOKENS_PER_SECOND), wave_file]
            command = [sys.executable, "-m", "benchmarks.window_memory", "--child", json.dumps(asked)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[window] = json.loads(done.stdout)
            whole, wave = (np.load(Path(folder) / f"{each}.npy") for each in (WHOLE_SENTENCE_FRAMES, window))
            found[window]["largest_difference"] = float(np.abs(wave - whole).max())
            saved = 1 - found[window]["mebibytes"] / found[WHOLE_SENTENCE_FRAMES]["mebibytes"]
            found[window]["saved"] = saved
            click.echo(
                f"window {window}: {found[window]['mebibytes']:.0f} MiB while rendering {seconds:g} s "
                f"({saved:.0%} less than the whole), {found[window]['seconds']:.2f} s, "
                f"largest difference {found[window]['largest_difference']:.1e}"
            )
    if output is not None:
        output.write_text(
            json.dumps({"seconds_of_audio": seconds, "settings": assignments, "windows": found}, indent=1)
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(*json.loads(sys.argv[2]))))
    else:
        main()
