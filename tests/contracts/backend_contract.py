"""What every backend keeps: subclass both classes, supply `backend`, get every test."""

import importlib.util
import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from autotune import knobs
from autotune.machine import Machine
from autotune.probe import probe
from sovits_rt.backends import Backend, EntryPoint
from sovits_rt.nn.hifigan import Generator, GeneratorConfig
from sovits_rt.nn.t2s import T2S, T2SConfig
from sovits_rt.settings import BACKENDS, AcousticSettings, SemanticSettings, Settings
from sovits_rt.stages.semantic.decoder import DecodeJob, Decoder
from sovits_rt.types import Floats, Sampling

TESTS = Path(__file__).parent.parent
MACHINES = sorted(path.stem for path in (TESTS / "machines").glob("*.txt"))
LOGITS = 1e-4
SAMPLES = 1e-5
GAIN = 100.0  # untrained weights hardly make a sound


class Ones:
    """Noise for greedy decoding."""

    def token(self, step: int, size: int) -> Floats:
        return np.ones(size, np.float32)

    def latent(self, frames: int, channels: int) -> Floats:
        return np.zeros((channels, frames), np.float32)


class BackendContract:
    @pytest.fixture
    def backend(self) -> Backend:
        raise NotImplementedError

    @pytest.mark.parametrize("name", MACHINES)
    def test_it_says_why_it_is_unavailable(self, backend, name):
        reason = backend.unavailable(machine(name))
        assert reason is None or (len(reason) > 10 and not reason.endswith("."))

    def test_it_is_a_knob_value(self, backend):
        stages = {"semantic": ("t2s_step", SemanticSettings), "acoustic": ("vocoder", AcousticSettings)}
        can_run = {name: made for name, (entry, made) in stages.items() if backend.formats(entry)}
        assert can_run
        settings = Settings(**{name: made(backend=backend) for name, made in can_run.items()})
        assert knobs.load(Settings, knobs.dump(settings)) == settings
        assert hash(backend) == hash(type(backend)())
        assert type(backend) in BACKENDS.values()


class Running:
    """A backend that runs networks here."""

    @pytest.fixture
    def backend(self) -> Backend:
        raise NotImplementedError

    @pytest.fixture
    def here(self, backend):
        """Skips where the backend says that it can't run."""
        reason = backend.unavailable(probe())
        if reason is not None:
            pytest.skip(reason)


class DecoderParity(Running):
    """The decoder's steps give the same numbers as plain torch. Slow for backends that compile."""

    def test_decoder_steps_equal_plain_ones(self, backend, here):
        """Growing batches and windows, as decoding has them; memory is written in place."""
        network = tiny_decoder()
        step = compiled(backend, EntryPoint("t2s_step", network, "step", varying=("slots", "window"), resident=(3,)))
        worst = 0.0
        for slots, window in ((1, 64), (3, 64), (4, 128), (4, 192)):
            arguments, memory, same = step_arguments(network, slots, window)
            with torch.inference_mode():
                difference = (quietly(step, *arguments, memory) - network.step(*arguments, same)).abs().max()
            worst = max(worst, float(difference), float((memory - same).abs().max()))
        print(f"{type(backend).__name__}: largest difference of logits and memory {worst:.1e}")
        assert worst < LOGITS

    def test_reading_a_sentence_equals_the_plain_way(self, backend, here):
        """With and without a prompt, into one slot of many."""
        if "fp32" not in backend.formats("t2s_prefill"):
            assert backend.formats("t2s_prefill") == (), "then it must be left to the network"
            return
        network, worst = tiny_decoder(), 0.0
        prefill = compiled(backend, EntryPoint("t2s_prefill", network, "prefill", varying=("phones", "tokens")))
        for phones, tokens in ((7, 5), (1, 9), (12, 0), (1, 0)):
            memory = network.new_memory(3, 64, dtype=torch.float32, device=torch.device("cpu"))
            same = memory.clone()
            given = (torch.arange(phones), torch.randn(phones, 1024), torch.arange(tokens))
            with torch.inference_mode():
                plain = network.prefill(*given, same[:, :, 1])
                found = quietly(prefill, *given, memory[:, :, 1])
            assert found.shape == plain.shape
            worst = max(worst, float((found - plain).abs().max()), float((memory - same).abs().max()))
        print(f"{type(backend).__name__}: largest difference of logits and memory {worst:.1e}")
        assert worst < LOGITS

    def test_the_decoder_gives_the_same_tokens(self, backend, here):
        """As decoding calls it: batches that grow and shrink, views of longer rows, memory that moves."""
        network = tiny_decoder()
        step = compiled(backend, EntryPoint("t2s_step", network, "step", varying=("slots", "window"), resident=(3,)))
        plain = [tokens.tolist() for _, tokens in Decoder(network, network.step, slots=3).decode(jobs())]
        found = [
            tokens.tolist()
            for _, tokens in Decoder(network, lambda *each: quietly(step, *each), slots=3).decode(jobs())
        ]
        assert found == plain


class VocoderParity(Running):
    """The vocoder gives the same samples as plain torch."""

    def test_the_vocoder_equals_the_plain_one(self, backend, here):
        if "fp32" not in backend.formats("vocoder"):
            assert AcousticSettings(backend=backend).unavailable(probe()), "what can't run must be refused"
            return
        torch.manual_seed(0)
        generator = Generator(GeneratorConfig(voice=4, latent=6, channels=32)).eval()
        with torch.no_grad():
            generator.conv_post.weight.mul_(GAIN)
        cases = [(torch.randn(1, 6, frames), torch.randn(1, 4, 1)) for frames in (7, 20, 33)]
        with torch.inference_mode():
            plain = [generator(*case) for case in cases]  # before a backend touches the module
        generate = compiled(backend, EntryPoint("vocoder", generator, "forward", varying=("frames",)))
        with torch.inference_mode():
            found = [quietly(generate, *case) for case in cases]
        worst = max(float((mine - other).abs().max()) for mine, other in zip(found, plain, strict=True))
        peak = max(float(each.abs().max()) for each in plain)
        print(f"{type(backend).__name__}: largest difference of a sample {worst:.1e}, of samples up to {peak:.2f}")
        assert peak > 0.1
        assert worst < SAMPLES


class BackendParity(DecoderParity, VocoderParity):
    """For backends that run both."""


def compiled(backend, entry):
    torch.compiler.reset()
    return quietly(backend.compile, entry)


def quietly(function, *arguments):
    """A compiler's own warnings are no concern of the comparison."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments)


def tiny_decoder() -> T2S:
    torch.manual_seed(0)
    return T2S(T2SConfig(width=16, heads=2, layers=2, text_vocab=20, audio_vocab=33), positions=300).eval()


def step_arguments(network, slots, window):
    lengths = torch.arange(slots) * 7 + 20
    memory = network.new_memory(slots, window, dtype=torch.float32, device=torch.device("cpu")).normal_()
    return (torch.arange(slots) + 3, torch.arange(slots) + 5, lengths), memory, memory.clone()


def jobs() -> list[DecodeJob]:
    random = np.random.default_rng(0)
    return [
        DecodeJob(
            index=index,
            phones=random.integers(0, 20, 10 + index),
            bert=np.zeros((10 + index, 1024), np.float32),
            prompt_tokens=random.integers(0, 32, 5),
            sampling=Sampling(top_k=1),
            noise=Ones(),
            max_tokens=20 + 9 * index,
            end_of_speech=False,
        )
        for index in range(6)
    ]


def machine(name: str) -> Machine:
    reader, _ = load_recorded().read(TESTS / "machines" / f"{name}.txt")
    return probe(reader)


def load_recorded() -> ModuleType:
    """tests/autotune/recorded.py, whose folder is on the path only when its own tests run."""
    if "recorded" not in sys.modules:
        spec = importlib.util.spec_from_file_location("recorded", TESTS / "autotune" / "recorded.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules["recorded"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["recorded"])
    return sys.modules["recorded"]
