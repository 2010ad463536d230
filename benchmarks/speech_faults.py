"""Faults planted into real speech: do the gates catch every one, and leave right settings alone?

In this process, on any pair of checkpoints. Each fault is judged twice: as of settings that promise the same audio, and
as of settings that may change it, whose gates are looser.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from autotune.measure import Gate
from autotune.subject import Outputs, common_gates
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.quality import LOGITS
from sovits_rt.settings import AcousticSettings, SemanticSettings, Settings
from sovits_rt.tuning import SpeechRunner
from sovits_rt.types import Floats

Break = Callable[[SpeechRunner], None]
CUT_SHARE = 0.1  # of the wave, from its end
# Settings that must give the same speech.
EQUIVALENT = tuple(
    Settings(semantic=SemanticSettings(slots=slots), acoustic=AcousticSettings(window=window))
    for slots in (1, 2, 4, 8, 16)
    for window in (50, 100, 200, 3000)
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """failed: names of the gates that failed. exact: judged as of settings that promise the same audio."""

    fault: str
    exact: bool
    failed: tuple[str, ...]


def judged(plain: SpeechRunner, reference: Outputs, output: Outputs) -> list[Gate]:
    """As a trial's worker does it."""
    gates = common_gates(reference, output)
    return [*gates, *plain.compare(0, reference, output)] if all(gate.passed for gate in gates) else gates


def planted(paths: ModelPaths) -> Iterator[Verdict]:
    """Every fault, in both promises."""
    plain = SpeechRunner(paths, Settings(), brief=True)
    reference = plain.run(0)
    found = {name: spoken(paths, breaking) for name, breaking in BROKEN_NETWORKS.items()}
    whole = spoken(paths, lambda runner: None)
    found |= {name: {**whole, "wave": breaking(whole["wave"])} for name, breaking in BROKEN_WAVES.items()}
    for name, output in found.items():
        for exact in (True, False):
            given = {**output, "exact": np.array(exact)}
            if exact:
                given |= {name: reference[name] for name in LOGITS}
            gates = judged(plain, reference, given)
            yield Verdict(name, exact, tuple(gate.name for gate in gates if not gate.passed))


def false_alarms(paths: ModelPaths) -> Iterator[Verdict]:
    """The same speech made in twenty ways."""
    plain = SpeechRunner(paths, Settings(), brief=True)
    reference = plain.run(0)
    for settings in EQUIVALENT:
        gates = judged(plain, reference, SpeechRunner(paths, settings, brief=True).run(0))
        name = f"{settings.semantic.slots} slots, window {settings.acoustic.window}"
        yield Verdict(name, True, tuple(gate.name for gate in gates if not gate.passed))


def spoken(paths: ModelPaths, breaking: Break) -> dict[str, Floats]:
    """Wave, tokens and logits of a runner that something was done to."""
    runner = SpeechRunner(paths, Settings(), brief=True)
    with torch.no_grad():
        breaking(runner)
    return {**runner.run(0), **runner.forced()}


def put_nan(runner: SpeechRunner) -> None:
    next(runner.rehearsal.engine.models.t2s.h.layers[0].parameters()).fill_(torch.nan)


def zero_scale(runner: SpeechRunner) -> None:
    """Of the vocoder's first layer: its sound no longer depends on what is to be said."""
    runner.rehearsal.engine.models.sovits.dec.conv_pre.weight.zero_()


def zero_norm(runner: SpeechRunner) -> None:
    layer = runner.rehearsal.engine.models.t2s.h.layers[0]
    next(each for name, each in layer.named_parameters() if "norm" in name and name.endswith("weight")).zero_()


def swap_voice(runner: SpeechRunner) -> None:
    rehearsal = runner.rehearsal
    voice = rehearsal.engine.invented_voice(np.random.default_rng(99), 4, 4)
    rehearsal.request = replace(rehearsal.request, voice=voice)


BROKEN_NETWORKS: Mapping[str, Break] = {
    "NaN layer": put_nan,
    "zeroed scale of the vocoder": zero_scale,
    "zeroed scale of the decoder": zero_norm,
    "swapped voice": swap_voice,
}
BROKEN_WAVES: Mapping[str, Callable[[Floats], Floats]] = {
    "truncated end": lambda wave: wave[: -max(1, int(CUT_SHARE * len(wave)))],
    "silent half": lambda wave: np.where(np.arange(len(wave)) < len(wave) // 2, wave, np.float32(0)),
}
