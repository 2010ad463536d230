"""Number formats that lose something: how far they are from fp32, printed and bounded.

Random weights, in which every number matters alike, exaggerate the loss; what speech bears is judged when tuning.
"""

import numpy as np
import pytest
import torch
from backend_contract import compiled, step_arguments

from autotune.probe import probe
from sovits_rt.backends import EntryPoint
from sovits_rt.backends._graph import BLOCK, quantised
from sovits_rt.backends.onnxruntime import OnnxRuntime
from sovits_rt.errors import SettingsError
from sovits_rt.nn.t2s import T2S, T2SConfig
from sovits_rt.settings import SemanticSettings
from sovits_rt.stages.semantic.decoder import Decoder

SLOTS = 16
# backend, precision, cosine at least, equal first choices at least, mean KL divergence at most
FORMATS = [
    (OnnxRuntime(), "int8", 0.9999, 0.9, 1e-4),
    (OnnxRuntime(down="same", head="same"), "int8", 0.9995, 0.9, 5e-4),
    (OnnxRuntime(down="int8", head="int8"), "int4", 0.99, 0.9, 1e-2),
]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = T2S(T2SConfig(width=128, heads=4, layers=3, text_vocab=20, audio_vocab=129), positions=300).eval()
    with torch.no_grad():
        network.ar_predict_layer.weight.mul_(3)  # logits as far apart as trained ones
    return network


@pytest.mark.parametrize(("backend", "precision", "cosine", "agreement", "divergence"), FORMATS)
def test_steps_are_near_plain_ones(network, backend, precision, cosine, agreement, divergence):
    if (reason := backend.unavailable(probe())) is not None:
        pytest.skip(reason)
    step = compiled(backend, EntryPoint("t2s_step", network, "step", precision, varying=("slots", "window")))
    arguments, memory, same = step_arguments(network, SLOTS, 192)
    with torch.inference_mode():
        found, plain = step(*arguments, memory), network.step(*arguments, same)
    p, q = plain.log_softmax(-1), found.log_softmax(-1)
    nearest = float(torch.nn.functional.cosine_similarity(plain, found).min())
    equal = float((plain.argmax(-1) == found.argmax(-1)).float().mean())
    mean = float((p.exp() * (p - q)).sum(-1).mean())
    print(f"{backend} {precision}: cosine {nearest:.5f}, equal first choices {equal:.3f}, divergence {mean:.1e}")
    assert 0 < mean < divergence, "0 would mean that nothing was quantised"
    assert nearest > cosine
    assert equal >= agreement


def test_matrices_can_be_kept(network):
    """The matrices that suffer most stay fp32 unless asked otherwise, and that brings the logits nearer."""
    assert (OnnxRuntime().down, OnnxRuntime().head) == ("fp32", "fp32")
    arguments, memory, same = step_arguments(network, SLOTS, 192)
    far = {}
    with torch.inference_mode():
        plain = network.step(*arguments, same)
        for kept in ("fp32", "same"):
            entry = EntryPoint("t2s_step", network, "step", "int4")
            step = compiled(OnnxRuntime(down=kept, head=kept), entry)
            far[kept] = float((step(*arguments, memory.clone()) - plain).abs().mean())
    print(f"mean difference of logits {far}")
    assert far["fp32"] < 0.95 * far["same"]


@pytest.mark.parametrize(("bits", "steps"), [(8, 127), (4, 7)])
@pytest.mark.parametrize("columns", [16, 32, 100])
def test_weights_are_rounded_to_the_nearest(bits, steps, columns):
    """Unpacked again, no weight is further off than half a step of its block's scale."""
    weight = np.random.default_rng(0).normal(size=(5, columns)).astype(np.float32)
    weight[2] = 0
    numbers, scales = quantised(weight, bits)
    blocks = -(-columns // BLOCK)
    assert numbers.shape == (5, blocks, BLOCK * bits // 8)
    if bits == 4:
        numbers = np.stack([numbers & 15, numbers >> 4], axis=-1).reshape(5, blocks, BLOCK)
    values = ((numbers.astype(np.float32) - (1 << (bits - 1))) * scales[..., None]).reshape(5, -1)
    assert np.all(values[:, columns:] == 0)
    error = np.abs(values[:, :columns] - weight) / np.repeat(np.abs(scales), BLOCK, axis=1)[:, :columns]
    print(f"{bits} bits: largest error {error.max():.3f} steps")
    assert error.max() < (0.501 if bits == 8 else 1.001)  # int4: -peak is one step beyond the range
    assert np.abs(weight).max() / np.abs(scales).max() < steps + 1.01


def test_formats_that_a_backend_does_not_run_are_refused():
    assert SemanticSettings(backend=OnnxRuntime(), precision="int8").unavailable(probe()) is None
    assert "bf16" in str(SemanticSettings(backend=OnnxRuntime(), precision="bf16").unavailable(probe()))
    assert "int8" in str(SemanticSettings(precision="int8").unavailable(probe()))


def test_a_step_is_said_to_read_as_many_bytes_as_the_format_has(network):
    plain, packed = (Decoder(network, network.step, slots=1, weight_bytes=each).step_cost for each in (None, 1.125))
    assert plain.weight_bytes == 4 * plain.weights
    assert packed.weight_bytes == round(1.125 * plain.weights)


def test_it_is_refused_off_the_cpu():
    network = T2S(T2SConfig(width=16, heads=2, layers=1, text_vocab=4, audio_vocab=5)).to("meta")
    with pytest.raises(SettingsError, match="CPU only"):
        OnnxRuntime().compile(EntryPoint("t2s_step", network, "step"))
