"""The whole engine with graphs, on the golden checkpoints: on a CPU a graph is the function that it replays."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from replaying import Replays
from speaking import RecordedNoise, noise_of, speak

from sovits_rt.backends import _recording
from sovits_rt.backends.cudagraph import CudaGraph
from sovits_rt.engine import sentence_noises
from sovits_rt.errors import SettingsError
from sovits_rt.settings import AcousticSettings, SemanticSettings, Settings
from sovits_rt.types import Floats

GRAPHS = Settings(
    semantic=SemanticSettings(backend=CudaGraph(poll=8), slots=4), acoustic=AcousticSettings(backend=CudaGraph())
)
WAVE = 1e-4
CASES = ("v1_en_greedy", "v2_batch1", "v2_eos_batch1", "v2_eos_sampled", "v2_sampled_default", "v2_sampled_topp")


@dataclass(frozen=True)
class Padded:
    """Recorded noise, and ones for steps that upstream did not come to: a sentence may run on for a few turns."""

    recorded: RecordedNoise

    def token(self, step: int, size: int) -> Floats:
        if self.recorded.steps and step not in self.recorded.steps:
            return np.ones(size, np.float32)
        return self.recorded.token(step, size)

    def latent(self, frames: int, channels: int) -> Floats:
        return self.recorded.latent(frames, channels)


@pytest.fixture
def replays(monkeypatch):
    made = []

    def recorder():
        made.append(Replays())
        return made[-1]

    monkeypatch.setattr(_recording, "CudaRecorder", recorder)
    monkeypatch.setattr(CudaGraph, "devices", ("cpu",))
    return made


@pytest.mark.parametrize("name", CASES)
def test_speech_with_graphs_equals_upstream(speaker, replays, name):
    case = speaker.pack.case(name)
    voice = speaker.voice(case)
    engine = type(speaker)(speaker.pack).engine(case, GRAPHS)
    chunks = speak(engine, speaker.request(case, voice), Padded(noise_of(case)))
    for index, chunk in enumerate(chunks):
        assert chunk.tokens.tolist() == case[f"seg{index}_tokens"].tolist()
        key = f"decode{case.meta['batches'].index([index])}_wav"
        if key in case:
            difference = case.compare(key, chunk.wave)
            print(f"{name} {key}: largest difference {difference:.1e}")
            assert difference <= WAVE
    assert sum(each.replays for each in replays) > len(chunks)


def test_judging_reads_the_same_logits(speaker, replays):
    case = speaker.pack.case("v2_eos_batch1")
    voice = speaker.voice(case)
    plain, graphs = speaker.engine(case), type(speaker)(speaker.pack).engine(case, GRAPHS)
    sentences = plain.sentences(speaker.request(case, voice))[:3]
    tokens = np.random.default_rng(0).integers(0, 1024, (3, 12))
    expected = plain.forced_logits(sentences, tokens, voice, stepped=8)
    difference = np.abs(graphs.forced_logits(sentences, tokens, voice, stepped=8) - expected).max()
    print(f"largest difference of logits {difference:.1e}")
    assert difference < 6e-5


def test_sentences_spoken_together_sound_as_one_by_one(speaker, replays):
    """In the text's order, whole texts and single sentences."""
    case = speaker.pack.case("v2_eos_batch1")
    voice = speaker.voice(case)
    request = speaker.request(case, voice, noise_scale=0.5, max_tokens=20)
    together = replace(GRAPHS, acoustic=AcousticSettings(backend=CudaGraph(), window=50, pieces=4))
    plain, engine = speaker.engine(case), type(speaker)(speaker.pack).engine(case, together)
    expected, found = list(plain.synth(request)), list(engine.synth(request))
    assert [chunk.index for chunk in found] == list(range(len(expected)))
    worst = 0.0
    for wanted, chunk in zip(expected, found, strict=True):
        assert chunk.tokens.tolist() == wanted.tokens.tolist()
        worst = max(worst, np.abs(chunk.wave - wanted.wave).max(initial=0.0))
    noise = sentence_noises([expected[0].sentence], 0)[0]
    again = engine.render(expected[0].sentence, expected[0].tokens, noise, request)
    worst = max(worst, np.abs(again.wave - expected[0].wave).max())
    print(f"largest difference of a sample {worst:.1e}")
    assert worst <= 1e-5


def test_without_a_gpu_graphs_are_refused(speaker):
    case = speaker.pack.case("v2_batch1")
    with pytest.raises(SettingsError, match="cudagraph"):
        type(speaker)(speaker.pack).engine(case, GRAPHS)


def test_settings_with_graphs_are_for_gpus(recorded_machine):
    assert CudaGraph.unavailable(recorded_machine("h200_host")) is None
    assert CudaGraph.unavailable(recorded_machine("rx_7900_xtx")) is None
    for name in ("epyc_7763_dual", "macbook_m2", "driver_not_loaded"):
        reason = CudaGraph.unavailable(recorded_machine(name))
        print(reason)
        assert reason is not None
        assert "GPU of NVIDIA or AMD" in reason


def test_fp32_is_not_rounded_on_gpus(speaker):
    """torch's default lets NVIDIA's GPUs round the inputs of convolutions."""
    torch.backends.cudnn.allow_tf32 = True
    case = speaker.pack.case("v2_batch1")
    type(speaker)(speaker.pack).engine(case)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
