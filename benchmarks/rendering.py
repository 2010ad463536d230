"""How fast the vocoder is in each layout and number format, and how near to plain fp32.

    python -m benchmarks.rendering --voice v2 --voice v2ProPlus --json rendering.json

Random weights of the published sizes: speed does not depend on their values. All variants take turns in one process;
ratios are of neighbours in time, so that a machine that is busy with other things blurs but does not tilt them.
"""

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from sovits_rt.backends import EntryPoint
from sovits_rt.backends.channels_last import ChannelsLast
from sovits_rt.nn.hifigan import Generator, GeneratorConfig, halo_frames

SIZES = {
    "v2": GeneratorConfig(voice=512),
    "v2ProPlus": GeneratorConfig(voice=1024, channels=768, upsample_kernels=(20, 16, 8, 2, 2)),
}
LOUDNESS = 100.0  # untrained weights hardly make a sound
FRAME_SECONDS = 0.02
PLAIN = "plain fp32"
Run = Callable[[], Tensor]


def variants(config: GeneratorConfig, frames: int) -> Mapping[str, Run]:
    """Each renders the same latent."""
    torch.manual_seed(0)
    latent, style = torch.randn(1, config.latent, frames), torch.randn(1, config.voice, 1)
    runs: dict[str, Run] = {}
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        for layout, backend in (("plain", None), ("channels-last", ChannelsLast())):
            torch.manual_seed(1)
            network = Generator(config).eval().requires_grad_(False)
            network.conv_post.weight.mul_(LOUDNESS)
            entry = EntryPoint("vocoder", network.to(dtype), "forward", precision, ("frames",))
            function = entry.function if backend is None else backend.compile(entry)
            inputs = (latent.to(dtype), style.to(dtype))
            runs[f"{layout} {precision}"] = lambda function=function, inputs=inputs: function(*inputs)
    return runs


def compare(runs: Mapping[str, Run], rounds: int, seconds: float) -> dict[str, Any]:
    """Per variant: real-time factor, ratio to plain fp32 of the same round, difference of the samples."""
    reference = runs[PLAIN]()
    found: dict[str, Any] = {}
    for name, run in runs.items():
        error = run().float() - reference
        noise = float(error.norm())
        found[name] = {
            "largest_difference": float(error.abs().max()),
            "signal_to_noise_decibels": 20 * float(torch.log10(reference.norm() / noise)) if noise else None,
            "seconds": [],
        }
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            found[name]["seconds"].append(time.perf_counter() - start)
    plain = found[PLAIN]["seconds"]
    for each in found.values():
        ratios = [before / after for before, after in zip(plain, each["seconds"], strict=True)]
        each["rtf"] = statistics.median(each["seconds"]) / seconds
        each["times_faster"] = statistics.median(ratios)
        each["times_faster_range"] = [min(ratios), max(ratios)]
    return found


@click.command()
@click.option("--voice", "voices", multiple=True, default=("v2",), type=click.Choice(tuple(SIZES)))
@click.option("--frames", default=100, show_default=True, help="Of one window, without its surroundings.")
@click.option("--rounds", default=7, show_default=True)
@click.option("--threads", default=torch.get_num_threads(), show_default=True)
@click.option("--json", "output", type=click.Path(path_type=Path))
@torch.inference_mode()
def main(voices: tuple[str, ...], frames: int, rounds: int, threads: int, output: Path | None) -> None:
    torch.set_num_threads(threads)
    results: dict[str, Any] = {}
    for voice in voices:
        config = SIZES[voice]
        runs = variants(config, frames + 2 * halo_frames(config))
        results[voice] = compare(runs, rounds, frames * FRAME_SECONDS)
        for name, each in results[voice].items():
            low, high = each["times_faster_range"]
            click.echo(
                f"{voice:10} {name:20} RTF {each['rtf']:.3f}, {each['times_faster']:.2f} ({low:.2f} to {high:.2f}) "
                f"times plain fp32, largest difference {each['largest_difference']:.1e}"
            )
    if output is not None:
        machine = {"cpu": platform.processor() or platform.machine(), "threads": threads, "torch": torch.__version__}
        output.write_text(json.dumps({"machine": machine, "frames": frames, "voices": results}, indent=1))


if __name__ == "__main__":
    main()
