"""What is in memory, and when."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from sovits_rt import checkpoints
from sovits_rt.models import Models, _WithoutInitialValues
from sovits_rt.nn.t2s import T2S, T2SConfig
from sovits_rt.quality import MEAN_DIVERGENCE
from sovits_rt.settings import FrontendSettings, Settings


@pytest.fixture
def case(speaker):
    return speaker.pack.case("v2_en_greedy")


def test_reference_networks_are_forgotten_and_come_back(speaker, case):
    """A voice that is prepared again is the same."""
    engine = speaker.engine(case)
    asked = {"text": case.meta["request"]["prompt_text"], "language": case.meta["request"]["prompt_lang"] or "zh"}
    voices = []
    for _ in range(2):
        voices.append(engine.prepare(speaker.references(case), **asked))
        assert not {"hubert", "speaker"} & vars(engine._models).keys()
    assert voices[0].prompt_tokens.tolist() == voices[1].prompt_tokens.tolist()
    assert voices[0].style.tolist() == voices[1].style.tolist()


@pytest.mark.parametrize("format", [torch.float32, torch.bfloat16])
def test_the_decoder_is_built_in_its_format(speaker, case, format):
    """To the bit what converting it afterwards gives."""
    direct = Models(speaker.paths(case), torch.device("cpu"), format).t2s.state_dict()
    converted = Models(speaker.paths(case), torch.device("cpu")).t2s.to(format).state_dict()
    assert {weight.dtype for weight in direct.values()} == {format}
    assert all(torch.equal(direct[name], converted[name]) for name in converted)


def test_weights_are_let_go_of_once_they_are_copied():
    network = nn.Linear(3, 2, device="meta")
    weights = {"weight": torch.randn(2, 3), "bias": torch.randn(2), "unused": torch.zeros(1)}
    kept = weights["weight"].clone()
    checkpoints.load_into(network, weights, what="a layer", may_ignore=["unused"], consume=True)
    assert weights == {}
    assert torch.equal(network.weight, kept)


def test_no_random_number_is_drawn_for_a_network_that_is_loaded():
    config = T2SConfig(width=16, heads=2, layers=1, text_vocab=5, audio_vocab=7)
    state = torch.get_rng_state()
    with torch.device("cpu"), _WithoutInitialValues():
        network = T2S(config, positions=8)
    assert torch.equal(torch.get_rng_state(), state)
    plain = T2S(config, positions=8)
    assert {name: weight.shape for name, weight in network.state_dict().items()} == {
        name: weight.shape for name, weight in plain.state_dict().items()
    }
    assert torch.equal(network.ar_text_position.table, plain.ar_text_position.table), "what is computed stays"


def test_speaking_needs_no_compiler(speaker, case):
    """torch imports its compiler and sympy on some calls; together they take longer than loading the weights."""
    paths = {name: str(path) for name in ("gpt", "sovits") if (path := getattr(speaker.paths(case), name))}
    script = """
import json, sys
from pathlib import Path
import numpy as np
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.engine import Engine
from sovits_rt.types import Request, Segment, Sentence
engine = Engine.load(ModelPaths(**{name: Path(path) for name, path in json.loads(sys.argv[1]).items()}))
voice = engine.invented_voice(np.random.default_rng(0), 5, 5)
sentence = Sentence("", (Segment("", "", "", ("",) * 3, (1, 2, 3), None),))
list(engine.speak([sentence], Request("", "", voice, max_tokens=3, end_of_speech=False)))
print(json.dumps(sorted({"torch._dynamo", "torch._inductor", "sympy"} & sys.modules.keys())))
"""
    done = subprocess.run([sys.executable, "-c", script, json.dumps(paths)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_bert_in_half_precision_is_near(speaker):
    """Its features, and what the decoder makes of them: the divergence is far below the tuner's gate."""
    case = speaker.pack.case("v2_zh_greedy")
    plain, half = (
        speaker.engine(case, Settings(frontend=FrontendSettings(precision=precision))) for precision in ("fp32", "bf16")
    )
    request = speaker.request(case, speaker.voice(case))
    sentence = plain.sentences(request)[0]
    exact, rounded = plain.features(sentence), half.features(sentence)
    ratio = 20 * np.log10(np.linalg.norm(exact) / np.linalg.norm(rounded - exact))
    tokens = case["prompt_semantic"].astype(np.int64)
    logits = [engine.forced_logits([sentence], tokens[None], request.voice)[0] for engine in (plain, half)]
    divergence = mean_divergence(*logits)
    print(f"signal-to-noise ratio of the features {ratio:.1f} dB, mean divergence of the decoder {divergence:.1e}")
    assert rounded.dtype == np.float32
    assert 25 < ratio < 80
    assert 0 < divergence < MEAN_DIVERGENCE / 2


def mean_divergence(reference, output):
    p, q = (torch.from_numpy(each).double().log_softmax(1) for each in (reference, output))
    return float((p.exp() * (p - q)).sum(1).mean())
