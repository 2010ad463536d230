"""The native decoder step: every way of building and packing it, against plain torch."""

import platform
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from autotune.probe import probe
from sovits_rt import checkpoints
from sovits_rt.backends import EntryPoint, memory_format
from sovits_rt.backends._native import build
from sovits_rt.backends._native.package import FORMATS, NativeStep
from sovits_rt.backends.eager import Eager
from sovits_rt.backends.native import SOURCE, Native
from sovits_rt.errors import SettingsError
from sovits_rt.nn.t2s import T2S, T2SConfig
from sovits_rt.stages.semantic.decoder import DecodeJob, Decoder
from sovits_rt.types import Sampling

PORTABLE = ("-DSOVITS_RT_PORTABLE",)  # without the instructions that the source names
ROWS = 7  # blocks of four, two and one
WINDOW = 192
EXACT = 1e-4
# format: mean KL divergence at most, equal first choices at least, cosine at least. Random weights, in which all
# numbers matter alike, exaggerate the loss.
LOSSES = {"bf16": (1e-4, 0.98, 0.9999), "int8": (1e-3, 0.95, 0.999)}


def builds():
    """Flags for: this processor; it without named instructions; the oldest of its kind; one with AVX2."""
    yield ()
    yield PORTABLE
    if platform.machine() in ("x86_64", "AMD64"):
        yield ("-march=x86-64",)
        if "avx2" in probe().cpu.isa:
            yield ("-march=x86-64-v3",)


@pytest.fixture(scope="module", params=list(builds()), ids=lambda flags: flags[0] if flags else "native")
def library(request):
    if build.find_compiler() is None:
        pytest.skip("no C++ compiler")
    return build.load(SOURCE, request.param)


@pytest.fixture(scope="module")
def native():
    if build.find_compiler() is None:
        pytest.skip("no C++ compiler")
    return build.load(SOURCE)


@pytest.fixture(scope="module", params=[32, 8], ids=["usual heads", "narrow heads"])
def network(request):
    return made(head_width=request.param)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def made(head_width=32):
    torch.manual_seed(0)
    config = T2SConfig(width=128, heads=128 // head_width, layers=3, text_vocab=20, audio_vocab=129)
    network = T2S(config, positions=300).eval().requires_grad_(False)
    for name, parameter in network.named_parameters():
        if name.endswith("bias") or "norm" in name:  # whose first values, zeros and ones, would hide mistakes
            parameter.add_(0.1 * torch.randn_like(parameter))
    network.ar_audio_position.alpha.fill_(0.7)
    network.ar_predict_layer.weight.mul_(3)  # logits as far apart as trained ones
    return network


def call(network, rows=ROWS, seed=0):
    """(tokens, audio_positions, lengths), memory"""
    random = torch.Generator().manual_seed(seed)
    memory = network.new_memory(rows, WINDOW, dtype=torch.float32, device=torch.device("cpu"))
    memory.normal_(generator=random)
    tokens = torch.randint(0, 129, (rows,), generator=random)
    lengths = torch.tensor([0, 1, 15, 16, 17, 100, 191] * (rows // 7 + 1))[:rows]
    return (tokens, torch.arange(rows) + 3, lengths), memory


def plain(network, arguments, memory):
    with torch.inference_mode():
        logits: torch.Tensor = network.step(*arguments, memory)
    return logits


class Ones:
    """Noise for greedy decoding."""

    def token(self, step, size):
        return np.ones(size, np.float32)


def jobs():
    random = np.random.default_rng(0)
    return [
        DecodeJob(
            index=index,
            phones=random.integers(0, 20, 10 + index),
            bert=np.zeros((10 + index, 1024), np.float32),
            prompt_tokens=random.integers(0, 128, 5),
            sampling=Sampling(top_k=1),
            noise=Ones(),
            max_tokens=20 + 9 * index,
            end_of_speech=False,
        )
        for index in range(5)
    ]


def losses(plain, found):
    p, q = plain.double().log_softmax(-1), found.double().log_softmax(-1)
    divergence = float((p.exp() * (p - q)).sum(-1).mean())
    agreement = float((plain.argmax(-1) == found.argmax(-1)).float().mean())
    return divergence, agreement, float(torch.nn.functional.cosine_similarity(plain, found, dim=-1).min())


def test_fp32_equals_plain(library, network):
    arguments, memory = call(network)
    same = memory.clone()
    found, expected = NativeStep(library, network, ["fp32"] * 5)(*arguments, memory), plain(network, arguments, same)
    logits, rows = float((found - expected).abs().max()), float((memory - same).abs().max())
    print(f"largest difference of logits {logits:.1e}, of memory {rows:.1e}")
    assert max(logits, rows) < EXACT


@pytest.mark.parametrize("precision", LOSSES)
def test_lossy_formats_stay_near(library, network, precision):
    """On a few steps of many rows, whose loss gathers in memory."""
    step, found, expected = NativeStep(library, network, [precision] * 5), [], []
    (tokens, positions, lengths), memory = call(network, rows=48)
    same = memory.clone()
    lengths = lengths.clamp(max=100)
    for turn in range(8):
        arguments = ((tokens + turn) % 129, positions + turn, lengths + turn)
        found.append(step(*arguments, memory))
        expected.append(plain(network, arguments, same))
    divergence, agreement, cosine = losses(torch.cat(expected), torch.cat(found))
    print(f"{precision}: KL {divergence:.1e}, equal first choices {agreement:.3f}, cosine {cosine:.5f}")
    most, least, nearest = LOSSES[precision]
    assert 0 < divergence < most
    assert agreement >= least
    assert cosine >= nearest


def test_bytes_are_multiplied_alike_with_and_without_named_instructions(native, network):
    """Whole numbers leave no room for rounding: the same to the bit."""
    arguments, memory = call(network)
    with_names = NativeStep(native, network, ["int8"] * 5)(*arguments, memory.clone())
    without = NativeStep(build.load(SOURCE, PORTABLE), network, ["int8"] * 5)(*arguments, memory)
    assert torch.equal(with_names, without)


@pytest.mark.parametrize("precision", FORMATS)
def test_a_row_depends_on_nothing_but_itself(native, network, precision, two_threads):
    """Not on the rows beside it, nor on the number of threads: the same to the bit."""
    step = NativeStep(native, network, [precision] * 5)
    arguments, memory = call(network)
    together = step(*arguments, memory.clone())
    torch.set_num_threads(1)
    for row in range(ROWS):
        one = slice(row, row + 1)
        alone = step(*(each[one] for each in arguments), memory.clone()[:, :, one])
        assert torch.equal(alone, together[one])


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_memory_may_have_16_bits(library, network, dtype, limit):
    """As if plain torch had the same rounded memory; the newest row too is rounded before it is used."""
    (tokens, positions, lengths), memory = call(network)
    memory[:, :, :, ::2] *= 1e-6  # float16 has only denormal numbers there
    rounded = memory.to(dtype)
    same = rounded.float()
    found = NativeStep(library, network, ["fp32"] * 5)(tokens, positions, lengths, rounded)
    expected = plain(network, (tokens, positions, lengths), same)
    written = float((rounded.float() - same).abs().max())
    difference = float((found - expected).abs().max())
    print(f"{dtype}: largest difference of logits {difference:.1e}, of memory {written:.1e}")
    assert 0 < written < limit * 4
    assert difference < limit * 4
    assert torch.equal(rounded[0, :, 0, :, 1:], memory[0, :, 0, :, 1:].to(dtype)), "other rows are left alone"


def test_a_window_is_part_of_longer_rows(native, network):
    arguments, memory = call(network)
    longer = torch.full((*memory.shape[:4], WINDOW + 64, memory.shape[5]), 7.0)
    longer[..., :WINDOW, :] = memory
    step = NativeStep(native, network, ["fp32"] * 5)
    found = step(*arguments, longer[..., :WINDOW, :])
    assert torch.equal(found, step(*arguments, memory))
    assert torch.equal(longer[..., :WINDOW, :], memory)
    assert bool((longer[..., WINDOW:, :] == 7).all())


def test_weights_may_be_in_bf16_already(native, network):
    arguments, memory = call(network)
    found = NativeStep(native, network, ["bf16"] * 5)(*arguments, memory.clone())
    halved = made(network.config.head_width).bfloat16()
    halved.ar_audio_position.table = network.ar_audio_position.table.clone()
    again = NativeStep(native, halved, ["bf16"] * 5)(*arguments, memory.clone())
    print(f"difference by rounded biases, norms and embeddings {float((found - again).abs().max()):.1e}")
    assert losses(found, again)[0] < 1e-4


def test_out_of_range_is_refused(native, network):
    step = NativeStep(native, network, ["fp32"] * 5)
    (tokens, positions, lengths), memory = call(network)
    for wrong in (
        (tokens + 129, positions, lengths),
        (tokens, positions - 9, lengths),
        (tokens, positions, lengths + 1),
    ):
        before = memory.clone()
        with pytest.raises(AssertionError, match="out of range"):
            step(*wrong, memory)
        assert torch.equal(memory, before)


def test_calls_at_once_do_not_mix(native, network):
    steps = [NativeStep(native, network, [precision] * 5) for precision in ("fp32", "int8")]
    calls = [call(network, seed=seed) for seed in range(8)]
    alone = [steps[seed % 2](*arguments, memory.clone()) for seed, (arguments, memory) in enumerate(calls)]

    def again(seed):
        arguments, memory = calls[seed]
        return steps[seed % 2](*arguments, memory.clone())

    with ThreadPoolExecutor(4) as executor:
        for _ in range(5):
            assert all(map(torch.equal, executor.map(again, range(8)), alone))


def test_sparing_brings_int8_nearer():
    """The knob: what is left in bf16."""
    network, far = made(), {}
    arguments, memory = call(network, rows=48)
    expected = plain(network, arguments, memory.clone())
    for spared in ("nothing", "head", "head-and-down"):
        step = Native(spared=spared).compile(EntryPoint("t2s_step", network, "step", "int8"))
        far[spared] = losses(expected, step(*arguments, memory.clone()))[0]
    print("mean KL divergence:", ", ".join(f"{name} {value:.1e}" for name, value in far.items()))
    assert far["head"] < far["nothing"]
    assert far["head-and-down"] < far["nothing"]


def test_decoding_with_16_bit_memory_gives_the_same_tokens():
    """Through the decoder, whose prefill writes into that memory too."""
    network = made()
    step = Native().compile(EntryPoint("t2s_step", network, "step"))
    expected = [tokens.tolist() for _, tokens in Decoder(network, network.step, slots=3).decode(jobs())]
    for dtype, bytes_each in ((torch.float16, 2), (None, 4)):
        decoder = Decoder(network, step, slots=3, memory_dtype=dtype)
        assert [tokens.tolist() for _, tokens in decoder.decode(jobs())] == expected
        assert decoder.step_cost.position_bytes == 2 * 3 * 128 * bytes_each


def test_the_engine_gives_the_memory_that_is_asked_for():
    assert memory_format(Native(memory="fp16")) == "fp16"
    assert memory_format(Native()) == memory_format(Eager()) == "same"


def test_an_unusual_width_is_refused():
    network = T2S(T2SConfig(width=24, heads=3, layers=1, text_vocab=20, audio_vocab=33), positions=30)
    with pytest.raises(SettingsError, match="multiple of 16, but this one's is 24"):
        Native().compile(EntryPoint("t2s_step", network, "step"))


def test_a_network_on_another_device_is_refused():
    with pytest.raises(SettingsError, match=r"runs on the CPU, but the decoder is on meta; set process.device=cpu"):
        Native().compile(EntryPoint("t2s_step", made().to("meta"), "step"))


@pytest.mark.full
def test_full_size_losses_stay_within_the_published_limits(golden):
    """Random weights of a published model's size; tokens are drawn from what plain torch expects."""
    network = T2S(T2SConfig(512, 16, 24, text_vocab=732, audio_vocab=1025), positions=400)
    stored = checkpoints.load_t2s(golden.checkpoint("t2s_v2", "full"))
    checkpoints.load_into(network, stored.weights, what="t2s_v2")
    network.eval().requires_grad_(False)
    rows, read, random = 8, 120, torch.Generator().manual_seed(0)
    memory = network.new_memory(rows, 192, dtype=torch.float32, device=torch.device("cpu"))
    with torch.inference_mode():
        for row in range(rows):
            phones, prompt = (torch.randint(1, 320, (read // 2,), generator=random) for _ in range(2))
            network.prefill(phones, torch.zeros(read // 2, 1024), prompt, memory[:, :, row])
    tried = {"fp32": Native(), "bf16": Native(), "int8": Native(), "int8 with fp16 memory": Native(memory="fp16")}
    steps = {
        name: each.compile(EntryPoint("t2s_step", network, "step", name.split()[0])) for name, each in tried.items()
    }
    memories = {name: memory.to(torch.float16) if "fp16" in name else memory.clone() for name in tried}
    expected, found = [], {name: [] for name in tried}
    tokens = torch.randint(0, 1024, (rows,), generator=random)
    for turn in range(16):
        arguments = (tokens, torch.full((rows,), read // 2 + turn), torch.full((rows,), read + turn))
        expected.append(plain(network, arguments, memory))
        for name, step in steps.items():
            found[name].append(step(*arguments, memories[name]))
        best = expected[-1][:, :1024].topk(15)
        drawn = torch.multinomial(best.values.clone().softmax(-1), 1, generator=random)
        tokens = best.indices.clone().gather(1, drawn)[:, 0]
    for name in tried:
        divergence, agreement, cosine = losses(torch.cat(expected), torch.cat(found[name]))
        print(f"{name}: KL {divergence:.1e}, equal first choices {agreement:.3f}, cosine {cosine:.6f}")
        assert divergence < (1e-9 if name == "fp32" else 1e-3)
        assert agreement == 1 if name == "fp32" else agreement > 0.97
