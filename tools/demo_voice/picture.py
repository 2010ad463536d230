"""Spectrograms of one sentence, teacher above ours: python -m tools.demo_voice.picture TEXT OUT.png [--voice en-rms]

Needs flite and the extra `plots`.
"""

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np

from sovits_rt import bundled
from sovits_rt.engine import Engine
from sovits_rt.types import Floats, Request
from tools.demo_voice import corpus
from tools.demo_voice.export import VOICES

FFT, HOP = 512, 80  # samples at 16 kHz
FLOOR_DECIBELS = -70
COLOURS = 64  # a picture of noise is large


def decibels(wave: Floats) -> Floats:
    """[samples] to [bins, frames], 0 dB is the loudest."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, FFT // 2), FFT)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(FFT))) ** 2
    found: Floats = (10 * np.log10(power / power.max() + 1e-12)).T
    return found


def ours(text: str, voice: bundled.BundledVoice) -> Floats:
    engine = Engine.load(voice.paths)
    request = Request(text, voice.language, voice.load(), split="cut0", sampling=voice.sampling)
    return np.concatenate([chunk.wave for chunk in engine.synth(request)])


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from PIL import Image  # comes with matplotlib

    parser = argparse.ArgumentParser(description="Draw the spectrograms of one sentence, teacher and ours.")
    parser.add_argument("text")
    parser.add_argument("out", type=Path)
    parser.add_argument("--voice", default="en-rms", choices=[name for name, _ in VOICES.values()])
    arguments = parser.parse_args()
    teacher = next(speaker for speaker, (name, _) in VOICES.items() if name == arguments.voice)
    with tempfile.TemporaryDirectory() as folder:
        spoken, _ = corpus.speak(arguments.text, teacher, Path(folder))
    waves = {
        f"flite {teacher}": spoken.astype(np.float32) / 32768,
        f"sovits-rt {arguments.voice}": ours(arguments.text, bundled.find(arguments.voice)),
    }
    figure, rows = pyplot.subplots(2, 1, figsize=(10, 6), sharex=True, sharey=True, layout="constrained")
    for axis, (name, wave) in zip(rows, waves.items(), strict=True):
        seconds = len(wave) / corpus.RATE
        image = axis.imshow(
            decibels(wave),
            origin="lower",
            aspect="auto",
            extent=(0, seconds, 0, corpus.RATE / 2000),
            vmin=FLOOR_DECIBELS,
            vmax=0,
            cmap="magma",
        )
        axis.set_title(f"{name}, {seconds:.2f} s")
        axis.set_ylabel("kHz")
    rows[1].set_xlabel("seconds")
    rows[1].set_xlim(0, max(len(wave) for wave in waves.values()) / corpus.RATE)
    figure.colorbar(image, ax=rows, label="dB below the loudest")
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=70)
    Image.open(drawn).convert("RGB").quantize(COLOURS).save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()
